"""Leaky integrate-and-fire: rates in closed form, surrogate slopes, and the rate code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from baselines.lif import Dynamics, _run
from harness.learning.spikes import smooth_step
from harness.registry import learners
from harness.rng import Rng

SURROGATES = ("fast-sigmoid", "sigmoid", "arctan", "rectangle")


def made(shape=(1, 3, 4), classes: int = 3, **keys):
    cls = learners["lif"]
    return cls(cls.Config(**keys), shape, classes, Rng(0))


@pytest.mark.parametrize("kind", SURROGATES)
def test_slopes_are_those_of_the_docstring(kind):
    k = 3.0
    u = torch.tensor([-1.0, -0.2, 0.05, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smooth_step(u, kind, k).sum(), u)
    x = u.detach().numpy()
    s = 1 / (1 + np.exp(-k * x))
    expected = {
        "fast-sigmoid": 1 / (1 + k * abs(x)) ** 2,
        "sigmoid": k * s * (1 - s),
        "arctan": k / 2 / (1 + (math.pi * k * x / 2) ** 2),
        "rectangle": np.where(abs(x) < 1 / k, k / 2, 0),
    }[kind]
    np.testing.assert_allclose(slope.numpy(), expected)


def constant(current: float, steps: int, leak: float = 0.9) -> tuple[float, float]:
    """Final mean potential of an output with weight 1, and the rate of one neuron."""
    tensors = {
        "weight0": torch.zeros(1, 1),
        "bias0": torch.zeros(1, 1),
        "weight1": torch.ones(1, 1),
        "bias1": torch.zeros(1, 1),
    }
    dynamics = Dynamics(steps, leak, 1.0, "sigmoid", 5.0)
    mean, rate = _run([torch.full((1, 1), current)] * steps, tensors, dynamics)
    return float(mean), float(rate)


def test_a_current_below_the_threshold_never_spikes():
    """v rises to I / (1 - leak) = 0.95."""
    assert constant(0.095, 400) == (0, 0)
    assert constant(0.105, 400)[1] > 0


@pytest.mark.parametrize("current", [0.15, 0.3, 0.7])
def test_the_rate_is_that_of_the_recursion(current):
    v, z, spikes = 0.0, 0.0, 0
    for _ in range(500):
        v = 0.9 * v + current - z
        z = float(v > 1)
        spikes += z
    assert constant(current, 500)[1] == pytest.approx(spikes / 500, abs=0.005)


def test_the_output_is_the_mean_of_a_leaky_sum():
    """One spike at the first step: the potential is leak^t afterwards."""
    tensors = {
        "weight0": torch.zeros(1, 1),
        "bias0": torch.zeros(1, 1),
        "weight1": torch.full((1, 1), 2.0),
        "bias1": torch.zeros(1, 1),
    }
    dynamics = Dynamics(5, 0.5, 1.0, "sigmoid", 5.0)
    currents = [torch.full((1, 1), 1.5)] + [torch.zeros(1, 1)] * 4
    mean, rate = _run(currents, tensors, dynamics)
    assert float(rate) == pytest.approx(0.2)
    assert float(mean) == pytest.approx(2 * sum(0.5**t for t in range(5)) / 5)


def test_answers_to_a_rate_code_are_those_of_the_expectation():
    learner = made(code="rate", draws=60, hidden=20, steps=8)
    image = torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    many = learner.classifier()(image)
    other = made(code="rate", draws=60, hidden=20, steps=8)
    other.rng = Rng(5)
    other.tensors["codes"] = other._thresholds(60, torch.Generator().manual_seed(9))
    torch.testing.assert_close(other.classifier()(image), many, atol=0.1, rtol=0.2)
    assert torch.equal(learner.classifier()(image), many)
    image.requires_grad_()
    (slope,) = torch.autograd.grad(learner.classifier()(image).sum(), image)
    assert slope.abs().sum() > 0


@pytest.mark.parametrize("code", ["direct", "rate"])
def test_digits_are_learned(code, digits):
    cls = learners["lif"]
    config = cls.Config(hidden=64, steps=6, code=code, draws=4, lr=5e-3, epochs=6)
    learner = cls(config, digits[0].shape, 10, Rng(0))
    learner.fit(digits[0])
    with torch.no_grad():
        answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.85


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="certified_eps"):
        learners["lif"].Config(certified_eps=0.1)
