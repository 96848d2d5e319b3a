"""The Learner contract, for every registered learner: a new one is covered without an edit here.

On a GPU: ``HARNESS_TEST_DEVICE=cuda pytest tests/learning/test_learner_contract.py``.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import rich.style  # noqa: F401  draws one random number when it is first imported
import safetensors.torch
import torch
from pydantic import ValidationError

from harness.batching import in_batches
from harness.cells.matching import density
from harness.data.base import Images
from harness.errors import HarnessError
from harness.execute import work
from harness.learning.learner import Budget, Learner, TrainingLog
from harness.registry import Config, learners
from harness.rng import Rng

SHAPE, CLASSES, BUDGET = (1, 12, 12), 6, 3000
LARGEST_BATCH = 256
DEVICE = os.environ.get("HARNESS_TEST_DEVICE", "cpu")
work.prepare_device(DEVICE)

# ``network`` needs one: tests/baselines/test_network.py
every_learner = pytest.mark.parametrize("kind", sorted({*learners} - {"network"}))


def blobs(per_class: int, purpose: str) -> Images:
    """Bright blobs whose position is their class, with jitter and noise."""
    generator, size = Rng(0).numpy("blobs", purpose), SHAPE[1]
    labels = np.tile(np.arange(CLASSES), per_class)
    angle = 2 * np.pi * labels / CLASSES
    centre = (
        size / 2
        + 3.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
        + generator.normal(0, 0.5, (len(labels), 2))
    )
    rows, columns = np.mgrid[:size, :size]
    distance = (rows - centre[:, 0, None, None]) ** 2 + (columns - centre[:, 1, None, None]) ** 2
    ink = np.exp(-distance / 6) + generator.normal(0, 0.1, distance.shape)
    pixels = (255 * ink.clip(0, 1)).astype(np.uint8)[:, None]
    return Images(pixels, labels.astype(np.int64), np.arange(len(labels)), CLASSES)


SEED = Rng(0)
TRAIN, TEST = blobs(60, "train"), blobs(16, "test")


LARGEST = {
    "hidden": 200,
    "width": 32,
    "readout_steps": 200,
    "switch": 200,
    "cells": 1000,
    "units": 200,
}
"""Sizes of networks that have them, at most: these images are easy and few."""


def small(kind: str, **keys: object) -> Config:
    """The config of a learner with small networks."""
    config = learners[kind].Config()
    for key, most in LARGEST.items():
        if isinstance(size := getattr(config, key, None), int | list):
            size = min(size, most) if isinstance(size, int) else [min(x, most) for x in size]
            keys = {key: size} | keys
    return learners[kind].Config(**keys)


def fresh(kind: str, rng: Rng = SEED, **keys: object) -> Learner:
    return learners[kind](small(kind, **keys), SHAPE, CLASSES, rng).to(DEVICE)


def trained(kind: str, rng: Rng) -> tuple[Learner, TrainingLog, list[float]]:
    learner, fractions = fresh(kind, rng), []
    log = learner.fit(
        TRAIN, budget=Budget(BUDGET), progress=lambda fraction, note: fractions.append(fraction)
    )
    return learner, log, fractions


@cache
def fitted(kind: str) -> tuple[Learner, TrainingLog, list[float]]:
    """One fit for all tests that only read."""
    return trained(kind, Rng(0))


def episodes(
    count: int = 6, ways: int = 4, shots: int = 3, queries: int = 4
) -> tuple[torch.Tensor, ...]:
    """Support images (E, S, C, H, W), their labels (E, S), query images, their labels."""
    generator, images = Rng(0).numpy("episodes"), TEST.tensor(DEVICE)
    classes = np.stack([generator.permutation(CLASSES)[:ways] for _ in range(count)])
    members = np.stack([np.flatnonzero(TEST.labels == c) for c in range(CLASSES)])
    members = generator.permuted(members, axis=1)[classes]
    way = torch.arange(ways, device=DEVICE)
    return (
        images[members[:, :, :shots].reshape(count, -1)],
        way.repeat_interleave(shots).repeat(count, 1),
        images[members[:, :, shots : shots + queries].reshape(count, -1)],
        way.repeat_interleave(queries).repeat(count, 1),
    )


def few_shot_learners(kind: str, **keys: object) -> list[Learner]:
    """The learner in each state in which it may be asked to adapt."""
    scratch = [fresh(kind, **keys)] if "from_scratch" in learners[kind].regimes else []
    return [fitted(kind)[0], *scratch]


def hasty_learners(kind: str) -> list[Learner]:
    """The same, of few steps: what agrees in three steps agrees in each after them."""
    takes_steps = "adapt_steps" in learners[kind].Config.model_fields
    return few_shot_learners(kind, **({"adapt_steps": 3} if takes_steps else {}))


def gradient(module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    images = images.detach().requires_grad_()
    return torch.autograd.grad(module(images).square().sum(), images)[0]


def global_random_state() -> tuple:
    return (
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        torch.get_rng_state().numpy().tobytes(),
    )


@pytest.fixture(autouse=True)
def global_state_is_unchanged():
    """No test may change a global generator, gradient mode, or the number of threads."""
    before = (
        global_random_state(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
    )
    yield
    assert (
        global_random_state(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
    ) == before


@every_learner
def test_config_is_strict_and_every_field_is_described(kind):
    model = learners[kind].Config
    with pytest.raises(ValidationError, match="extra_forbidden|Extra inputs"):
        model.model_validate({"no_such_key": 1})
    assert all(info.description for info in model.model_fields.values())
    assert model.model_json_schema()["additionalProperties"] is False
    assert learners.describe(kind).endswith((".", ":"))


@pytest.mark.parametrize(
    ("kind", "one"),
    [(kind, one) for kind in learners for one in learners[kind].tunable],
    ids=lambda each: getattr(each, "key", each),
)
def test_keys_that_match_may_choose_change_the_density(kind, one):
    found = []
    for value in (one.low, one.high):
        learner = fresh(kind, **{one.key: value})
        learner.fit(TRAIN, budget=Budget(BUDGET))
        assert torch.isfinite(learner.classifier()(TEST.tensor(DEVICE))).all()
        found.append(density(learner))
    assert abs(found[0] - found[1]) > 0.1


@every_learner
def test_fit_gives_a_log_and_stays_within_its_budget(kind):
    learner, log, fractions = fitted(kind)
    assert learner.fitted
    assert 0 < log.images_seen <= BUDGET + LARGEST_BATCH
    assert all(np.isfinite(value) for row in log.rows for value in row.values())
    assert fractions == sorted(fractions) and 0 < fractions[-1] <= 1


@every_learner
def test_classifier_is_a_differentiable_module_in_eval_mode(kind):
    module, images = fitted(kind)[0].classifier(), TEST.tensor(DEVICE)[:32]
    assert not any(part.training for part in module.modules())
    assert module(images).shape == (32, CLASSES) and module(images).dtype == torch.float32
    slope = gradient(module, images)
    assert slope.isfinite().all() and (slope.flatten(1).norm(dim=1) > 0).all()
    assert all(p.grad is None for p in module.parameters())
    assert not any(part.training for part in module.modules())


@every_learner
@pytest.mark.parametrize("what", ["logits", "gradient", "embedding"])
def test_the_batch_size_changes_no_bit(kind, what):
    learner, images = fitted(kind)[0], TEST.tensor(DEVICE)
    module = learner.classifier()
    function = {
        "logits": module,
        "gradient": lambda x: gradient(module, x),
        "embedding": learner.embed,
    }[what]
    whole = in_batches(function, images, batch_size=len(images))
    for batch_size in (1, 16, 33):
        assert torch.equal(in_batches(function, images, batch_size=batch_size), whole)


@every_learner
def test_an_easy_problem_is_learned(kind):
    with torch.no_grad():
        logits = in_batches(fitted(kind)[0].classifier(), TEST.tensor(DEVICE), batch_size=96)
    assert (logits.argmax(1).cpu().numpy() == TEST.labels).mean() > 0.5  # chance: 1 / 6


@every_learner
def test_embed_gives_one_vector_an_image(kind):
    embedding = fitted(kind)[0].embed(TEST.tensor(DEVICE)[:5])
    assert embedding.ndim == 2 and len(embedding) == 5 and embedding.isfinite().all()
    assert embedding.std(0).max() > 0


@every_learner
def test_adapt_adapt_many_and_head_many_agree(kind):
    support, labels, queries, _ = episodes(count=3)
    for learner in hasty_learners(kind):
        with torch.no_grad():  # as a protocol calls them
            modules = [learner.adapt(x, y, 4) for x, y in zip(support, labels, strict=True)]
            alone = torch.stack([module(x) for module, x in zip(modules, queries, strict=True)])
            together = [learner.adapt_many(support, labels, 4)(queries)]
            if learner.frozen_features:
                embedded = [
                    learner.embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])
                    for x in (support, queries)
                ]
                together.append(learner.head_many(embedded[0], labels, 4)(embedded[1]))
        assert alone.shape == (3, 16, 4)
        for logits in together:
            torch.testing.assert_close(logits, alone, rtol=1e-3, atol=1e-3)
            assert torch.equal(logits.argmax(2), alone.argmax(2))


@every_learner
def test_an_episode_is_the_same_whichever_it_is_adapted_with(kind):
    support, labels, queries, _ = episodes(count=3)
    for learner in hasty_learners(kind):
        with torch.no_grad():
            together = learner.adapt_many(support, labels, 4)(queries)
            parts = [
                learner.adapt_many(support[i], labels[i], 4)(queries[i])
                for i in (slice(0, 1), slice(1, 3))
            ]
        # A GPU chooses how to multiply stacks of matrices by how many there are.
        tolerance = 0 if DEVICE == "cpu" else 1e-4
        torch.testing.assert_close(torch.cat(parts), together, rtol=tolerance, atol=tolerance)


@every_learner
def test_adapted_classifiers_work_and_can_be_attacked(kind):
    support, labels, queries, truth = episodes()
    for learner in few_shot_learners(kind):
        module = learner.adapt(support[0], labels[0], 4)
        assert not any(part.training for part in module.modules())
        assert gradient(module, queries[0]).abs().sum() > 0
        with torch.no_grad():
            logits = learner.adapt_many(support, labels, 4)(queries)
        assert (logits.argmax(2) == truth).float().mean() > 0.5  # chance: 1 / 4


@every_learner
def test_any_number_of_ways_works(kind):
    for ways in (2, 6):
        support, labels, queries, _ = episodes(count=1, ways=ways)
        for learner in hasty_learners(kind):
            assert learner.adapt(support[0], labels[0], ways)(queries[0]).shape == (4 * ways, ways)


@every_learner
def test_state_travels_through_safetensors_bit_by_bit(kind):
    learner, images = fitted(kind)[0], TEST.tensor(DEVICE)[:32]
    state = {name: tensor.cpu().contiguous() for name, tensor in learner.state_dict().items()}
    copy = fresh(kind, Rng(1))  # another start: everything must come from the state
    copy.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    assert copy.fitted
    support, labels, queries, _ = episodes(count=1)
    for read in (
        lambda x: x.classifier()(images),
        lambda x: x.embed(images),
        lambda x: x.adapt(support[0], labels[0], 4)(queries[0]),
    ):
        assert torch.equal(read(copy), read(learner))
    assert [s.name for s in copy.connectome()] == [s.name for s in learner.connectome()]


@every_learner
def test_moving_changes_nothing(kind):
    images = TEST.tensor(DEVICE)[:32]
    copy = fresh(kind)
    copy.load_state_dict(fitted(kind)[0].state_dict())
    assert torch.equal(
        copy.to("cpu").to(DEVICE).classifier()(images), fitted(kind)[0].classifier()(images)
    )
    assert not fresh(kind).fitted


@dataclass(frozen=True)
class SpyRng(Rng):
    """An Rng that records what is drawn from it."""

    drawn: list = field(default_factory=list, compare=False)

    def child(self, *purpose):
        return SpyRng(super().child(*purpose).seed, self.drawn)

    def torch(self, *purpose):
        self.drawn.append(purpose)
        return super().torch(*purpose)

    def numpy(self, *purpose):
        self.drawn.append(purpose)
        return super().numpy(*purpose)


def same(first: Learner, second: Learner) -> bool:
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@every_learner
def test_the_same_seed_learns_the_same_however_often_and_whatever_was_read(kind):
    learner = fresh(kind)
    learner.load_state_dict(fitted(kind)[0].state_dict())
    support, labels, queries, _ = episodes(count=1)
    learner.adapt(support[0], labels[0], 4)(queries[0])
    learner.adapt_many(support, labels, 4)(queries)
    gradient(learner.classifier(), queries[0])
    learner.embed(queries[0])
    assert same(learner, fitted(kind)[0])
    learner.fit(TRAIN, budget=Budget(BUDGET))  # starts afresh
    assert same(learner, fitted(kind)[0])


@every_learner
def test_another_seed_learns_something_else_where_anything_is_drawn(kind):
    spy = SpyRng(1)
    assert same(trained(kind, spy)[0], fitted(kind)[0]) == (not spy.drawn)


@every_learner
def test_connectome_is_made_of_matrices(kind):
    bundles = fitted(kind)[0].connectome()
    assert len({bundle.name for bundle in bundles}) == len(bundles)
    for bundle in bundles:
        assert (
            bundle.weight.ndim == 2
            and bundle.weight.isfinite().all()
            and not bundle.weight.requires_grad
        )
        if bundle.mask is not None:
            assert (
                bundle.mask.shape == bundle.weight.shape
                and bundle.mask.dtype == torch.bool
                and bundle.mask.any()
            )
        if bundle.enforced:
            assert (bundle.weight >= 0).all() or (bundle.weight <= 0).all()


@every_learner
def test_only_the_semi_supervised_regime_works_without_labels(kind):
    learner = fresh(kind)
    if "semi_supervised" not in learner.regimes:
        with pytest.raises(HarnessError, match="label"):
            learner.fit(TRAIN.unlabelled(), budget=Budget(BUDGET))
        return
    log = learner.fit(TRAIN.unlabelled(), budget=Budget(BUDGET))
    assert learner.fitted and log.images_seen <= BUDGET + LARGEST_BATCH
    support, labels, queries, _ = episodes(count=1)
    assert learner.adapt(support[0], labels[0], 4)(queries[0]).isfinite().all()
