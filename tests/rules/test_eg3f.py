"""Variant II: its drives are the gradient where it claims so, and its weights keep their signs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng
from harness.rules import eg3f
from harness.rules.modules.excitatory import activity

EG = learners["eg-3f"]


def learner(**config):
    return EG(EG.Config.model_validate(config), (1, 6, 6), 3, Rng(0))


def images(n: int = 300) -> Images:
    generator, labels = Rng(0).numpy("images"), np.arange(n) % 3
    pixels = generator.integers(0, 60, (n, 1, 6, 6)).astype(np.uint8)
    pixels[np.arange(n), 0, 2 * labels] = 230
    return Images(pixels, labels, np.arange(n), 3)


@pytest.mark.parametrize("hidden", [20, [20, 15, 10]])
@pytest.mark.parametrize("winners", [None, 5])
def test_drives_are_minus_the_gradient_of_the_cross_entropy(hidden, winners, monkeypatch):
    one = learner(hidden=hidden, winners=winners)
    weights, drives = one.initial_weights(3), {}
    monkeypatch.setattr(
        eg3f.ThreeFactorRule,
        "_change_weights",
        lambda self, depth, drive, fade: drives.__setitem__(depth, drive),
    )
    x, y = images(30).tensor().flatten(1)[None], torch.arange(30)[None] % 3
    eg3f.ThreeFactorRule(one, weights).step(x, y, 1.0)
    leaves = [w.clone().requires_grad_() for w in weights]
    h = x
    for weight in leaves[:-1]:
        h = activity(h @ weight, winners)
    o = h @ leaves[-1]
    F.cross_entropy((o - o.mean(2, keepdim=True))[0], y[0]).backward()
    for depth, leaf in enumerate(leaves):
        # The pool subtracts the mean over neurons, so what a drive has in common over them changes nothing.
        drive = drives[depth] - drives[depth].mean(2, keepdim=True)
        assert torch.allclose(drive, -(leaf.grad - leaf.grad.mean(2, keepdim=True)), atol=1e-6)
        assert drive.abs().max() > 1e-5


@pytest.mark.parametrize(
    "config",
    [{}, {"hidden": [30, 30, 30]}, {"feedback": "random"}, {"winners": 8}, {"noise": 0.05}],
    ids=str,
)
def test_it_learns_and_no_weight_changes_its_sign(config):
    one = learner(**config)
    log = one.fit(images())
    assert log.sign_changes == 0 and all((s.weight > 0).all() for s in one.connectome())
    with torch.no_grad():
        assert (
            one.classifier()(images().tensor()).argmax(1).numpy() == images().labels
        ).mean() > 0.9


def test_cost_makes_weights_smaller():
    dear, free = learner(cost=0.3), learner(cost=0.0)
    dear.fit(images())
    free.fit(images())
    assert dear.connectome()[0].weight.mean() < free.connectome()[0].weight.mean()
