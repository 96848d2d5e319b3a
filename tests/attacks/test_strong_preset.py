"""The preset ``strong``: exact on linear classifiers, where untargeted attacks leave samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.engine import in_turn
from harness.attacks.engine.sweep import sweep
from harness.attacks.trust import check
from harness.rng import Rng

PROTOTYPES = 10


@pytest.fixture(scope="module")
def nearest_mean():
    """A nearest-mean classifier whose classes are close, and 200 images that it gets right."""
    generator = torch.Generator().manual_seed(3)
    means = torch.rand(PROTOTYPES, 30, generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, PROTOTYPES)).eval()
    with torch.no_grad():
        model[1].weight.copy_(means)
        model[1].bias.copy_(-means.square().sum(1) / 2)
    images = torch.rand(200, 1, 5, 6, generator=generator)
    return model, images, model(images).argmax(1)


def exactly_robust(model, images, labels, eps: float) -> np.ndarray:
    """In Linf and the box, every pixel goes to its end: a closed form for each wrong class."""
    weight = model[1].weight.detach().double()
    bias = model[1].bias.detach().double()
    pixels = images.flatten(1).double()[:, None]
    towards = weight[None] - weight[labels][:, None]  # (N, classes, pixels)
    ends = torch.where(towards > 0, (pixels + eps).clamp(max=1), (pixels - eps).clamp(min=0))
    gain = (towards * ends).sum(2) + bias - bias[labels][:, None]
    gain.scatter_(1, labels[:, None], -np.inf)
    return (gain.amax(1) < 0).numpy()


@pytest.mark.parametrize("eps", [0.02, 0.04])
def test_strong_meets_the_closed_form_of_a_nearest_mean_classifier(attack, nearest_mean, eps):
    model, images, labels = nearest_mean
    truth = exactly_robust(*nearest_mean, eps)
    assert 0.1 < truth.mean() < 0.9

    result = sweep(model, images, labels, np.arange(200), attack("strong", eps=eps), Rng(0))
    np.testing.assert_array_equal(result.worst[0], truth)


def test_runs_made_together_give_what_runs_in_turn_give(attack, mlp, digits, monkeypatch):
    chosen = attack("strong", eps=0.1, steps=8)
    inputs = mlp, digits.images[:40], digits.labels[:40], np.arange(40), chosen, Rng(0)
    together = sweep(*inputs)
    monkeypatch.setattr(in_turn, "TOGETHER", 1)
    alone = sweep(*inputs)
    assert 0 < together.accuracy()[0] < 1
    np.testing.assert_array_equal(together.correct, alone.correct)
    np.testing.assert_allclose(together.margin, alone.margin, atol=1e-4)


def test_every_trust_check_of_strong_passes_on_an_honest_network(attack, mlp, digits):
    chosen = attack("strong", eps=[0.05, 0.1], steps=20)
    inputs = mlp, digits.images[:120], digits.labels[:120], np.arange(120), chosen, Rng(0)
    assert {found.level for found in check(*inputs, sweep(*inputs))} <= {"PASS", "WARN"}
