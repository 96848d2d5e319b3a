"""Attacks on spikes through several slopes: values stay, gradients differ, the worst counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits

from harness.attacks.engine.sweep import sweep
from harness.data.base import Images
from harness.learning.spikes import Slope, reset_by, spikes, through
from harness.registry import attacks, learners
from harness.rng import Rng

OTHERS = ("reset", "fast-sigmoid-5", "sigmoid-5", "arctan-2", "rectangle-2")


@pytest.fixture(scope="module")
def digits() -> Images:
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels[:600].reshape(-1, 1, 8, 8) * 15.9).astype(np.uint8)
    return Images(pixels, labels[:600].astype(np.int64), np.arange(600), 10)


def network(digits: Images, **keys) -> torch.nn.Module:
    cls = learners["lif"]
    learner = cls(
        cls.Config(hidden=[32, 32], steps=5, epochs=4, lr=5e-3, **keys), digits.shape, 10, Rng(0)
    )
    learner.fit(digits)
    return learner.classifier()


@pytest.fixture(scope="module")
def lif(digits) -> torch.nn.Module:
    return network(digits)


def attacked(kind: str, model: torch.nn.Module, images: Images, **keys) -> np.ndarray:
    attack = attacks[kind].of(eps=[0.06], steps=4, **keys)
    labels = torch.from_numpy(images.labels)
    return sweep(model, images.tensor(), labels, images.index, attack, Rng(3)).worst[0]


@pytest.mark.parametrize("slope", OTHERS)
def test_a_slope_changes_gradients_and_no_value(lif, digits, slope):
    images = digits.tensor()[:20].requires_grad_()
    answers = lif(images)
    (own,) = torch.autograd.grad(answers[:, 0].sum(), images)
    with through(Slope.parse(slope)):
        other_answers = lif(images)
        (other,) = torch.autograd.grad(other_answers[:, 0].sum(), images)
    assert torch.equal(answers, other_answers)
    assert not torch.allclose(own, other)


def test_a_slope_is_the_derivative_of_its_kind():
    u = torch.tensor([-0.3, 0.1], requires_grad=True)
    with through(Slope.parse("rectangle-4")):
        spikes(u, "sigmoid", 25.0).sum().backward()
    assert u.grad.tolist() == [0, 2]


def test_gradients_pass_a_reset_only_where_it_is_asked_for():
    z = torch.ones(1, requires_grad=True)
    assert not reset_by(z).requires_grad
    with through(Slope.parse("reset")):
        assert reset_by(z).requires_grad


def test_several_slopes_are_never_weaker_than_one(lif, digits):
    """On no image: each run is the one that the slope alone would make."""
    images = digits.take(np.arange(96))
    several = attacked("pgd-slopes", lif, images, through=["own", *OTHERS])
    one = attacked("pgd", lif, images)
    assert np.array_equal(attacked("pgd-slopes", lif, images, through=["own"]), one)
    for alone in (one, *(attacked("pgd-slopes", lif, images, through=[word]) for word in OTHERS)):
        assert not (several & ~alone).any()


def test_a_slope_that_hides_the_network_from_pgd_does_not_hide_it_from_several(digits):
    """Hardly any neuron is within 1e-6 of its threshold: a rectangle so narrow has no gradient."""
    images = digits.take(np.arange(96))
    hidden = network(digits, surrogate="sigmoid", steepness=5.0)
    hidden.switches["dynamics"] = hidden.switches["dynamics"].__class__(
        5, 0.95, 1.0, "rectangle", 1e6
    )
    withstood = attacked("pgd", hidden, images)
    several = attacked("pgd-slopes", hidden, images, through=["own", "sigmoid-5"])
    assert several.mean() < withstood.mean() - 0.1


@pytest.mark.parametrize("slope", ["tanh-5", "sigmoid", "sigmoid-0", "sigmoid--1", ""])
def test_words_that_are_no_slopes_are_refused(slope):
    with pytest.raises(ValidationError, match="is no slope"):
        attacks["pgd-slopes"].of(eps=[0.1], through=["own", slope])


def test_slopes_are_named_once():
    with pytest.raises(ValidationError, match="duplicate slope"):
        attacks["pgd-slopes"].of(eps=[0.1], through=["own", "own"])


def test_results_say_through_which_slope_an_image_was_broken(lif, digits):
    attack = attacks["pgd-slopes"].of(
        eps=[0.1], through=["own", "sigmoid-5"], loss=["ce", "margin"]
    )
    names = ["ce", "margin", "ce through sigmoid-5", "margin through sigmoid-5"]
    assert list(map(str, attack.objectives)) == names
    assert "through own, sigmoid-5" in attack.words()
