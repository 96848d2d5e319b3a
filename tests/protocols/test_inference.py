"""Whether the answer to one image depends on the others is tried, whatever a learner claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.base import Images
from harness.data.sampler import sample
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.classification import count
from harness.protocols.inference import (
    CHECK,
    DEPENDS,
    RANDOM,
    UNTRUE_CLAIM,
    of_classifier,
    of_episodes,
)
from harness.registry import learners
from harness.rng import Rng

NearestMean = learners["nearest-mean"]


class Centred(nn.Module):
    """Batch statistics in eval mode: images less the mean of their batch."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return flat - flat.mean(0)


class Transductive(NearestMean):
    """Its features depend on the batch."""

    def body(self) -> nn.Module:
        return Centred().eval()


class Declared(Transductive):
    transductive = True


class Boastful(NearestMean):
    transductive = True


class WholeEpisodes(Declared):
    """The same, adapted to each episode without frozen features."""

    @property
    def frozen_features(self) -> bool:
        return False


class Drawing(NearestMean):
    """It has dropout as a function, which no mode switches off."""

    def body(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), Always()).eval()


class Always(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


@pytest.fixture(scope="module")
def images() -> Images:
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 4
    pixels = (40 * labels[:, None, None, None] + generator.integers(0, 60, (80, 1, 3, 3))).astype(
        np.uint8
    )
    return Images(pixels, labels, np.arange(80), 4)


def tried(cls, images: Images):
    learner = cls(cls.Config(), images.shape, 4, Rng(0))
    episodes = sample(images, ways=3, shots=2, queries=5, episodes=4, rng=Rng(0))
    return of_episodes(learner, images, episodes, "cpu")


@pytest.mark.parametrize(
    ("cls", "remarks", "warns"),
    [
        (NearestMean, [], False),
        (Transductive, [DEPENDS], True),
        (Declared, [DEPENDS], False),
        (WholeEpisodes, [DEPENDS], False),
        (Boastful, [UNTRUE_CLAIM], False),
        (Drawing, [RANDOM], False),
    ],
)
def test_a_learner_is_called_what_it_does_and_warned_if_it_says_otherwise(
    images, cls, remarks, warns
):
    found = tried(cls, images)
    assert found.remarks == remarks
    assert [(check.name, check.level) for check in found.checks] == [(CHECK, "WARN")] * warns


@pytest.mark.parametrize("kind", ["mlp", "protonet", "ech", "maml"])
def test_our_own_learners_are_inductive(images, kind):
    cls = learners[kind]
    tiny = {"backbone": "mlp", "width": 8, "hidden": 8, "adapt_steps": 2}
    config = cls.Config(**{key: tiny[key] for key in tiny if key in cls.Config.model_fields})
    learner = cls(config, images.shape, 4, Rng(0))
    learner.fitted = kind != "ech"
    episodes = sample(images, ways=3, shots=2, queries=5, episodes=4, rng=Rng(0))
    assert of_episodes(learner, images, episodes, "cpu").remarks == []


def test_trying_moves_no_random_state(images):
    before = torch.get_rng_state()
    tried(Drawing, images)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_classifier_that_depends_on_its_batch_is_named_with_its_accuracy(images):
    assert of_classifier(Centred(), images.tensor()).remarks == [DEPENDS]
    assert of_classifier(nn.Flatten(), images.tensor()).remarks == []
    learner = Transductive(Transductive.Config(), images.shape, 4, Rng(0))
    learner.fit(images)
    measured = count(learner, images, Context(Rng(0), "cpu", 64, silent))
    assert measured.remarks == [DEPENDS] and [each.level for each in measured.trust] == ["WARN"]
