"""Predictive coding: its energy, its inference, and where it equals backpropagation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from harness.errors import HarnessError
from harness.registry import learners
from harness.rng import Rng

CLASSES = 4


def made(shape=(1, 3, 4), double: bool = True, **keys):
    """A learner and its rule, in float64."""
    cls = learners["predictive-coding"]
    learner = cls(cls.Config(**{"hidden": [9, 7], **keys}), shape, CLASSES, Rng(0))
    if double:
        learner.tensors = {name: value.double() for name, value in learner.tensors.items()}
    return learner, learner.rule(learner.tensors, adapting=False)


def batch(shape=(1, 3, 4), count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *shape, generator=generator).double(), torch.arange(count) % CLASSES


def backprop(rule, x, loss) -> list[torch.Tensor]:
    with torch.enable_grad():
        logits = rule.forward(x)[-1]
        return list(torch.autograd.grad(loss(logits), list(rule.leaves.values())))


def relative(ours, theirs) -> float:
    ours, theirs = (torch.cat([g.flatten() for g in each]) for each in (ours, theirs))
    return float((ours - theirs).norm() / theirs.norm())


def hidden_states(rule, x) -> tuple[list[torch.Tensor], torch.Tensor]:
    with torch.no_grad():
        *hidden, logits = rule.forward(x)
    return hidden, logits


@pytest.mark.parametrize("channels", [[], [3]])
def test_with_fixed_predictions_its_step_is_backpropagations(channels):
    """Inference of unit steps; layer l's weights are read at step L - l (Song et al. 2020)."""
    shape = (1, 4, 4)
    learner, rule = made(
        shape, channels=channels, activation="tanh", inference_lr=1.0, inference_momentum=0.0
    )
    x, y = batch(shape)
    target = F.one_hot(y, CLASSES).double()
    expected = backprop(rule, x, lambda u: (target - u).square().sum() / 2)
    hidden, _ = hidden_states(rule, x)
    layers = len(rule.stages)
    got = {}
    for step in range(layers):
        layer = layers - 1 - step
        gradients = rule.weight_gradients(x, hidden, target)
        got[layer] = gradients[2 * layer : 2 * layer + 2]
        rule.infer(x, hidden, target, [torch.zeros_like(h) for h in hidden])
    for layer in range(layers):
        for ours, theirs in zip(got[layer], expected[2 * layer : 2 * layer + 2], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_weak_output_gives_backpropagations_gradient():
    """With E_out times beta and the gradient at rest divided by it: the error is like beta."""
    _, rule = made(activation="tanh", inference_lr=0.1, inference_momentum=0.0)
    x, y = batch()
    target = F.one_hot(y, CLASSES).double()
    expected = backprop(rule, x, lambda u: (target - u).square().sum() / 2)
    distances = []
    energy = rule.energy
    for beta in (0.1, 0.01, 0.001):

        def weak(x, hidden, aim, beta=beta):
            output = rule.stages[-1](hidden[-1], rule.leaves["weight2"], rule.leaves["bias2"])
            return energy(x, hidden, aim) + (beta - 1) * (aim - output).square().sum() / 2

        rule.energy = weak
        hidden, _ = hidden_states(rule, x)
        for _ in range(600):
            rule.infer(x, hidden, target, [torch.zeros_like(h) for h in hidden])
        got = [g / beta for g in rule.weight_gradients(x, hidden, target)]
        distances.append(relative(got, expected))
    assert 0.1 < distances[0] < 1
    assert distances[1] < distances[0] / 5 and distances[2] == pytest.approx(
        distances[1] / 10, rel=0.2
    )


def test_inference_descends_to_rest():
    _, rule = made(activation="tanh", inference_lr=0.1, inference_momentum=0.5)
    x, y = batch()
    target = F.one_hot(y, CLASSES).double()
    hidden, _ = hidden_states(rule, x)
    velocity = [torch.zeros_like(h) for h in hidden]
    energies = []
    for _ in range(800):
        with torch.no_grad():
            energies.append(float(rule.energy(x, hidden, target)))
        rule.infer(x, hidden, target, velocity)
    assert energies[0] > energies[5] > energies[-1]
    with torch.enable_grad():
        leaves = [h.detach().requires_grad_() for h in hidden]
        slopes = torch.autograd.grad(rule.energy(x, leaves, target), leaves)
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-10


def test_the_gradients_are_the_local_ones_of_the_equations():
    _, rule = made(activation="tanh")
    x, y = batch()
    target = F.one_hot(y, CLASSES).double()
    hidden = [torch.randn(8, 9).double(), torch.randn(8, 7).double()]
    t = {name: value.detach() for name, value in rule.leaves.items()}
    flat = x.flatten(1)
    u1 = torch.tanh(flat @ t["weight0"] + t["bias0"])
    u2 = torch.tanh(hidden[0] @ t["weight1"] + t["bias1"])
    u3 = hidden[1] @ t["weight2"] + t["bias2"]
    e1, e2, e3 = hidden[0] - u1, hidden[1] - u2, target - u3
    got = rule.weight_gradients(x, hidden, target)
    torch.testing.assert_close(got[0], -flat.T @ (e1 * (1 - u1**2)))
    torch.testing.assert_close(got[2], -hidden[0].T @ (e2 * (1 - u2**2)))
    torch.testing.assert_close(got[4], -hidden[1].T @ e3)
    before = [h.clone() for h in hidden]
    rule.infer(x, hidden, target, [torch.zeros_like(h) for h in hidden])
    lr = rule.config.inference_lr
    slope = e1 - (e2 * (1 - u2**2)) @ t["weight1"].T
    torch.testing.assert_close(hidden[0], before[0] - lr * slope)
    torch.testing.assert_close(hidden[1], before[1] - lr * (e2 - e3 @ t["weight2"].T))


def test_cross_entropy_is_the_energy_of_the_output():
    _, rule = made(loss="cross-entropy")
    x, y = batch()
    hidden, logits = hidden_states(rule, x)
    energy = rule.energy(x, hidden, F.one_hot(y, CLASSES).double())
    torch.testing.assert_close(energy.detach(), F.cross_entropy(logits, y, reduction="sum"))


@pytest.mark.parametrize(("nudging", "signs"), [("positive", {1}), ("negative", {-1})])
def test_nudging_moves_the_output_and_divides_by_beta(nudging, signs):
    _, rule = made(nudging=nudging, beta=0.25, inference_steps=1, activation="tanh")
    x, y = batch()
    (sign,) = signs
    seen = []
    rule.optimiser.step = lambda gradients, rate: seen.append([g.clone() for g in gradients])
    hidden, logits = hidden_states(rule, x)
    aim = logits - sign * 0.25 * (logits - F.one_hot(y, CLASSES))
    rule.infer(x, hidden, aim, [torch.zeros_like(h) for h in hidden])
    expected = [g / (8 * sign * 0.25) for g in rule.weight_gradients(x, hidden, aim)]
    rule.step(x, y, 0.0)
    for ours, theirs in zip(seen[0], expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_centred_nudging_draws_both_signs():
    _, rule = made(nudging="centred", beta=0.25)
    assert {rule._beta() for _ in range(40)} == {0.25, -0.25}


def test_incremental_learns_after_every_step_of_inference():
    for incremental, steps in ((True, 8), (False, 1)):
        _, rule = made(incremental=incremental)
        seen = []
        rule.optimiser.step = lambda gradients, rate, seen=seen: seen.append(rate)
        rule.step(*batch(), 0.25)
        assert seen == [0.75] * steps


def test_convolutions_learn_too(digits):
    cls = learners["predictive-coding"]
    config = cls.Config(channels=[8, 16], hidden=[], loss="cross-entropy", lr=1e-2, epochs=3)
    learner = cls(config, digits[0].shape, 10, Rng(0))
    learner.fit(digits[0])
    with torch.no_grad():
        answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.85
    assert learner.embed(digits[1].tensor()[:2]).shape == (2, 16 * 2 * 2)
    assert [tuple(s.weight.shape) for s in learner.connectome()] == [(9, 8), (72, 16), (64, 10)]


def test_impossible_networks_are_refused():
    with pytest.raises(HarnessError, match=r"images of 3x4 pixels are too small for 2 conv"):
        made(channels=[2, 2])
    cls = learners["predictive-coding"]
    with pytest.raises(ValidationError, match="no hidden layers"):
        cls.Config(hidden=[])
    with pytest.raises(ValidationError, match="squared-error"):
        cls.Config(nudging="positive", loss="cross-entropy")
