"""Hebbian convolutions: each rule learns digits, and switches do what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.learning import hebbian_steps as steps
from harness.learning.hebbian_stage import patches_of
from harness.registry import learners
from harness.rng import Rng

POOL = {"pool_size": 2, "stride": 2}
LAYERS = [{"channels": 16, "kernel": 3, **POOL}, {"channels": 32, "kernel": 3, **POOL}]
RULES = ("hpca", "hard", "soft", "bcm")


def made(shape=(1, 8, 8), **keys):
    cls = learners["hebbian-conv"]
    keys = {"layers": LAYERS, "readout_epochs": 8, "readout_lr": 1e-2, **keys}
    return cls(cls.Config.model_validate(keys), shape, 10, Rng(0))


def accuracy(learner, images) -> float:
    with torch.no_grad():
        answers = learner.classifier()(images.tensor()).argmax(1).numpy()
    return float((answers == images.labels).mean())


@pytest.mark.parametrize("rule", RULES)
def test_digits_are_learned_by_layers_that_change(rule, digits):
    learner = made(rule=rule)
    before = [learner.tensors[f"weight{i}"].clone() for i in range(2)]
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.85
    assert not any(torch.equal(learner.tensors[f"weight{i}"], before[i]) for i in range(2))


def test_without_epochs_filters_stay_random_and_the_readout_learns(digits):
    learner = made(epochs=0)
    before = learner.tensors["weight0"].clone()
    log = learner.fit(digits[0])
    assert torch.equal(learner.tensors["weight0"], before)
    assert accuracy(learner, digits[1]) > 0.85
    assert learner.tensors["deviation1"].ne(1).any()
    assert log.images_seen == 2 * len(digits[0])  # to measure, and for the read-out


def test_a_step_is_that_of_the_rule_on_normalised_patches(digits):
    learner = made(rule="hard", layers=LAYERS[:1])
    x = digits[0].tensor()[:20]
    weight = learner.tensors["weight0"].clone()
    learner.learn(x, 0.0)
    patches = patches_of((x - x.mean()) / x.std(unbiased=False), 3)
    u = torch.cosine_similarity(patches[:, None], weight.flatten(1)[None], dim=2)
    step = steps.by_largest(steps.instar(patches, u, weight.flatten(1)))
    torch.testing.assert_close(learner.tensors["weight0"], weight + 0.1 * step.view_as(weight))


@pytest.mark.parametrize("rule", RULES)
def test_dale_never_leaves_a_negative_weight(rule, digits):
    learner = made(rule=rule, dale=True, readout_epochs=1)
    lowest = []
    learner.watch = lambda one, seen: lowest.append(
        min(float(one.tensors[f"weight{i}"].min()) for i in range(2))
    )
    learner.fit(digits[0])
    assert min(lowest) >= 0
    assert [bundle.enforced for bundle in learner.connectome()] == [True, True, False]


def test_presynaptic_competition_reads_reciprocals_at_length_one(digits):
    learner = made(presynaptic=True)
    weight = learner.tensors["weight1"]
    kernel = learner.read(weight)
    loop = torch.empty_like(weight)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            m = 1 / (weight[i, j].abs() + 1e-6)
            loop[i, j] = m / m.square().sum().sqrt()
    torch.testing.assert_close(kernel, loop)
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.7


def test_means_and_deviations_make_every_layers_input_standard(digits):
    learner = made()
    learner.fit(digits[0])
    x = digits[0].tensor()
    assert float(learner.tensors["mean0"]) == pytest.approx(float(x.mean()), abs=1e-3)
    assert float(learner.tensors["deviation0"]) == pytest.approx(float(x.std()), abs=1e-3)


def test_a_readout_with_a_hidden_layer_and_dropout_learns(digits):
    learner = made(readout="gelu-2048", dropout=0.3, readout_epochs=3, readout_lr=2e-3)
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.85
    assert [bundle.name for bundle in learner.connectome()][-2:] == [
        "layers->units",
        "hidden->output",
    ]


def test_features_too_large_to_keep_are_computed_again_with_the_same_result(digits, monkeypatch):
    kept = made(readout_epochs=2)
    kept.fit(digits[0])
    monkeypatch.setattr("baselines.hebbian_conv.KEPT_BYTES", 0)
    again = made(readout_epochs=2)
    again.fit(digits[0])
    torch.testing.assert_close(again.tensors["readout"], kept.tensors["readout"])


def test_few_shot_heads_can_read_means_over_places(digits):
    learner = made(average=True, readout_epochs=1)
    learner.fit(digits[0])
    images = digits[1].tensor()[:5]
    maps = made(readout_epochs=1)
    maps.fit(digits[0])
    averaged = maps.embed(images).unflatten(1, (32, -1)).mean(2)
    torch.testing.assert_close(learner.embed(images), averaged)


def test_attacks_reach_every_pixel(digits):
    learner = made(rule="soft", layers=[{**LAYERS[0], "power": 0.7}, LAYERS[1]])
    learner.fit(digits[0])
    images = digits[1].tensor()[:8].requires_grad_()
    (slope,) = torch.autograd.grad(learner.classifier()(images).square().sum(), images)
    assert slope.isfinite().all()
    assert np.count_nonzero(slope.numpy()) > 0.9 * slope.numel()


def test_images_too_small_for_the_layers_are_refused():
    with pytest.raises(HarnessError, match="layer 3 has an input of 2x2"):
        made(layers=[*LAYERS, {"kernel": 5}])
