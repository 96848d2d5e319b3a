"""Equilibrium propagation: its rest states, and its estimate against the true gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness.errors import HarnessError
from harness.registry import learners
from harness.rng import Rng

CLASSES = 4
SHAPE = (1, 4, 6)


def made(**keys):
    """A learner and its rule, in float64."""
    cls = learners["equilibrium-propagation"]
    learner = cls(cls.Config(**{"hidden": [9, 7], **keys}), SHAPE, CLASSES, Rng(0))
    learner.tensors = {name: value.double() for name, value in learner.tensors.items()}
    return learner, learner.rule(learner.tensors, adapting=False)


def batch(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *SHAPE, generator=generator).double(), torch.arange(count) % CLASSES


NETWORKS = {
    "layered": {},
    "convolutional": {"channels": [3], "hidden": [6]},
    "cross-entropy": {"loss": "cross-entropy"},
}


def true_gradient(rule, x, target) -> torch.Tensor:
    """By backpropagation through the whole free phase."""
    leaves = {name: value.clone().requires_grad_() for name, value in rule.tensors.items()}
    _, states = rule.dynamics.rest(x, leaves)
    if rule.dynamics.with_output:
        loss = (states[-1] - target).square().sum() / 2 / len(x)
    else:
        logits = rule.dynamics.answer(states, leaves)
        loss = F.cross_entropy(logits, target.argmax(1))
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(leaves.values()))])


def distance(rule, x, target) -> float:
    with torch.no_grad():
        first, states = rule.dynamics.rest(x, rule.tensors)
    estimate = torch.cat([g.flatten() for g in rule.estimate(x, first, states, target)])
    expected = true_gradient(rule, x, target)
    return float((estimate - expected).norm() / expected.norm())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_estimate_becomes_the_gradient_as_beta_vanishes(network):
    x, y = batch()
    target = F.one_hot(y, CLASSES).double()
    for centred, order in ((False, 1), (True, 2)):
        errors = []
        for beta in (0.1, 0.01):
            _, rule = made(
                **NETWORKS[network],
                beta=beta,
                centred=centred,
                free_steps=150,
                nudged_steps=150,
            )
            errors.append(distance(rule, x, target))
        assert errors[0] < 0.5
        assert errors[1] < 2 * errors[0] / 10**order  # error like beta, or like beta squared


@pytest.mark.parametrize("network", NETWORKS)
def test_a_sweep_follows_the_slope_of_the_primitive_function(network):
    _, rule = made(**NETWORKS[network], squash="hard-sigmoid")
    x, _ = batch()
    first, states = rule.dynamics.rest(x, rule.tensors)
    states = [torch.rand_like(state).requires_grad_() for state in states]
    slopes = torch.autograd.grad(rule.dynamics.primitive(x, states, rule.tensors), states)
    swept = rule.dynamics.sweep(first, states, rule.tensors)
    for got, slope in zip(swept, slopes, strict=True):
        torch.testing.assert_close(got, slope.clamp(0, 1))


@pytest.mark.parametrize("network", ["layered", "convolutional"])
def test_the_unrolled_gradient_is_the_implicit_one_at_rest(network):
    """v <- dL/ds + (dF/ds)^T v until it settles, then (dF/dx)^T v."""
    _, rule = made(free_steps=300, **NETWORKS[network])
    dynamics, tensors = rule.dynamics, rule.tensors
    images = batch()[0].requires_grad_()
    _, states = dynamics.rest(images, tensors)
    (unrolled,) = torch.autograd.grad(states[-1].square().sum(), images)
    rest = [state.detach().requires_grad_() for state in states]
    image = images.detach().requires_grad_()
    first, _ = dynamics.up(0, image, tensors)
    swept = dynamics.sweep(first, rest, tensors)
    outside = [torch.zeros_like(state) for state in rest]
    outside[-1] = 2 * rest[-1].detach()
    v = outside
    for _ in range(300):
        back = torch.autograd.grad(swept, rest, v, retain_graph=True)
        v = [a + b for a, b in zip(outside, back, strict=True)]
    (implicit,) = torch.autograd.grad(swept, image, v)
    torch.testing.assert_close(unrolled, implicit, rtol=1e-8, atol=1e-12)


def test_the_classifier_is_at_rest_and_answers_by_the_drive():
    learner, rule = made()
    x, _ = batch()
    first, states = rule.dynamics.rest(x, learner.tensors)
    again = rule.dynamics.sweep(first, states, learner.tensors)
    assert max(float((a - b).abs().max()) for a, b in zip(states, again, strict=True)) < 1e-6
    logits = learner.classifier().double()(x)
    torch.testing.assert_close(torch.sigmoid(4 * (logits - 0.5)), again[-1])


@pytest.mark.parametrize(
    "keys",
    [
        {"hidden": 64, "lr": 2e-3, "epochs": 6},
        {
            "channels": [8],
            "hidden": [],
            "squash": "hard-sigmoid",
            "loss": "cross-entropy",
            "free_steps": 15,
            "nudged_steps": 5,
            "beta": 0.5,
            "lr": 1e-2,
            "epochs": 2,
        },
    ],
)
def test_digits_are_learned(keys, digits):
    cls = learners["equilibrium-propagation"]
    learner = cls(cls.Config(**keys), digits[0].shape, 10, Rng(0))
    learner.fit(digits[0])
    with torch.no_grad():
        answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.85


def test_impossible_networks_are_refused():
    with pytest.raises(HarnessError, match=r"too small for 3 convolutions"):
        made(channels=[2, 2, 2])
    with pytest.raises(ValueError, match="no hidden layers"):
        learners["equilibrium-propagation"].Config(hidden=[])
