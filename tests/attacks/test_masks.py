"""Masks that checks of the gradient miss: each is refused by name, and adapted attacks see past."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flaws import judged, remarks, train
from masks import Plastic, adapted, masks, naive, truth
from torch import nn

from harness.rng import Rng

EPS = [0.05, 0.1]
REFUSED = {
    "plastic": "same on a fresh copy",
    "habituated": "same on a fresh copy",
    "decoy": "real graph not stronger",
    "rewritten": "gradient agrees with outputs",
    "minority": "gradient agrees with outputs",
    "bait": "relative not stronger",
    "associative memory": "relative not stronger",
    "deep winners": "non-differentiable parts",
    "sparsified": "non-differentiable parts",
}
"""The check that names what each mask hides."""


GROSS = ("plastic", "habituated", "decoy", "bait", "deep winners", "sparsified")
"""Those that fail on 64 images of 64 pixels too."""


@pytest.fixture(scope="module")
def relatives(digits):
    """A network that hides nothing, and does not know the masked one."""
    layers = [nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)]
    return {"mlp": train(nn.Sequential(*layers), *digits.train, epochs=12, seed=5)}


@pytest.fixture(scope="module")
def planted(mlp, digits):
    """Every mask, around a network of digits or trained on them."""
    return masks(mlp, *digits.train, hidden=50, gain=3.0)


@pytest.mark.parametrize("name", REFUSED)
def test_a_mask_is_refused_by_the_check_that_names_it(planted, relatives, digits, name):
    images, labels = digits.images[:64], digits.labels[:64]
    _, checks = naive(planted[name], images, labels, EPS, relatives)
    # Class means are nearly honest on 64 pixels, and few images give a warning.
    levels = ("FAIL",) if name in GROSS else ("FAIL", "WARN")
    named = [remark for level in levels for remark in remarks(checks, level)]
    assert REFUSED[name] in named, checks


def test_an_honest_network_passes_beside_its_relatives(mlp, relatives, digits):
    keys = {"eps": EPS, "steps": 20, "loss": ["ce", "margin"], "relatives": relatives}
    _, checks = judged(mlp, digits.images[:96], digits.labels[:96], "pgd", **keys)
    assert "relative not stronger" in [check.name for check in checks]
    assert not remarks(checks, "FAIL") and not remarks(checks, "WARN")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plastic", "habituated", "decoy", "bait"])
def test_an_attack_that_sees_past_a_mask_gives_the_truth_on_digits(planted, digits, name):
    images, labels = digits.images[:96], digits.labels[:96]
    reached = adapted(planted[name], images, labels, EPS)
    np.testing.assert_allclose(reached, truth(planted[name], images, labels, EPS, 50), atol=0.021)


def test_a_network_that_says_it_is_plastic_is_warned_of(mlp, digits):
    from harness.attacks.engine.sweep import sweep
    from harness.attacks.trust import check
    from harness.registry import attacks

    images, labels = digits.images[:64], digits.labels[:64]
    pgd = attacks["pgd"].of(eps=EPS, steps=10, loss=["margin"])
    net = Plastic(mlp)
    arguments = (net, images, labels, np.arange(64), pgd, Rng(0))
    result = sweep(*arguments)
    checks = check(*arguments, result, fresh=lambda: Plastic(mlp), plastic=True)
    levels = {each.name: each for each in checks}
    for name in ("same on a fresh copy", "keeps no state"):
        assert levels[name].level == "WARN" and "declared plastic" in levels[name].detail


class Cached(nn.Module):
    """Builds a constant on first use, as positional codes often are."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.scale = inner, None

    def forward(self, x):
        if self.scale is None:
            self.scale = torch.ones(1, 10)
        return self.inner(x) * self.scale


def test_what_is_built_on_first_use_is_no_memory(mlp, digits):
    images, labels = digits.images[:64], digits.labels[:64]
    _, checks = judged(
        Cached(mlp), images, labels, "pgd", eps=EPS, fresh=lambda: Cached(mlp), loss=["margin"]
    )
    levels = {each.name: each.level for each in checks}
    assert levels["keeps no state"] == levels["same on a fresh copy"] == "PASS"


@pytest.mark.slow
def test_masks_are_refused_and_adapted_attacks_find_the_truth_on_mnist():
    from honest import conv, learned, mnist5k

    train_set, (images, labels) = mnist5k()
    images, labels = images[:200], labels[:200]
    others = {"conv": conv(8, seed=5), "prototypes": learned("prototypes", hidden=100)}
    for name, mask in masks(conv(8), *train_set).items():
        _, checks = naive(mask, images, labels, EPS, others)
        assert REFUSED[name] in remarks(checks, "FAIL"), (name, checks)
        reached = adapted(mask, images, labels, EPS)
        real = truth(mask, images, labels, EPS)
        np.testing.assert_allclose(reached, real, atol=0.02 + 1e-9, err_msg=name)
