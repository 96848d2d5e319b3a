"""Rules without a backward pass: competitive Hebbian, forward-forward, perturbation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from baselines import forward_forward
from harness.data.base import Images
from harness.learning.nets import perceptron
from harness.learning.perceptron import in_turn
from harness.registry import learners
from harness.rng import Rng


def made(kind: str, train, **switches):
    cls = learners[kind]
    return cls(cls.Config(**switches), train.shape, train.n_classes, Rng(0))


def accuracy(learner, test) -> float:
    with torch.no_grad():
        return (learner.classifier()(test.tensor()).argmax(1).numpy() == test.labels).mean()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize("rank", [2, 3])
def test_krotov_hopfield_is_its_equation_unit_by_unit(digits, p, rank):
    learner = made("krotov-hopfield", digits[0], hidden=11, p=p, rank=rank, delta=0.4, lr=0.1)
    x, weight = digits[0].tensor()[:30].flatten(1), learner.tensors["weight"].clone()
    expected = torch.zeros_like(weight)
    for image in x / x.norm(dim=1, keepdim=True):
        inputs = torch.tensor([float((w.sign() * w.abs() ** (p - 1)) @ image) for w in weight.T])
        order = inputs.argsort(descending=True)
        for unit, g in ((order[0], 1.0), (order[rank - 1], -0.4)):
            expected[:, unit] += g * (image - inputs[unit] * weight[:, unit])
    changed = weight.T.contiguous().T.clone()
    learner.learn(changed, x, 0.25)
    torch.testing.assert_close(
        changed, weight + 0.075 * expected / expected.abs().max(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("anti", [False, True])
def test_softhebb_is_its_equation_unit_by_unit(digits, adaptive, anti):
    learner = made("softhebb", digits[0], hidden=7, tau=0.3, lr=0.1, adaptive=adaptive, anti=anti)
    x, weight = digits[0].tensor()[:20].flatten(1), learner.tensors["weight"].clone()
    expected = torch.zeros_like(weight)
    for image in x / x.norm(dim=1, keepdim=True):
        u = image @ weight
        y = torch.softmax(u / 0.3, 0)
        for unit in range(7):
            sign = -1 if anti and unit != int(u.argmax()) else 1
            expected[:, unit] += sign * y[unit] * (image - u[unit] * weight[:, unit])
    expected = 0.05 * expected / expected.abs().max()
    if adaptive:
        expected *= (1 - weight.norm(dim=0)).abs() ** 0.5
    changed = weight.clone()
    learner.learn(changed, x, 0.5)
    torch.testing.assert_close(changed, weight + expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "switches"),
    [("krotov-hopfield", {"epochs": 60, "lr": 0.2}), ("softhebb", {"epochs": 40})],
)
def test_competitive_layers_converge_to_length_one_and_classify(digits, kind, switches):
    learner = made(kind, digits[0], hidden=200, **switches)
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.85
    norms = learner.tensors["weight"].norm(dim=0)
    assert ((norms - 1).abs() < 0.2).float().mean() > 0.5


@pytest.mark.parametrize("kind", ["krotov-hopfield", "softhebb"])
def test_the_code_does_not_depend_on_the_amount_of_ink(digits, kind):
    body, x = made(kind, digits[0], hidden=40).body(), digits[1].tensor()[:20]
    torch.testing.assert_close(body(x / 2), body(x), rtol=1e-4, atol=1e-6)
    assert body(x).std(0).max() > 0


@pytest.mark.parametrize("kind", ["krotov-hopfield", "softhebb"])
def test_without_labels_the_hidden_layer_is_the_same(digits, kind):
    unlabelled, labelled = (made(kind, digits[0], hidden=40, epochs=3) for _ in range(2))
    labelled.fit(digits[0])
    unlabelled.fit(Images(digits[0].pixels, None, digits[0].index, 0))
    assert torch.equal(unlabelled.tensors["weight"], labelled.tensors["weight"])


def test_goodness_of_a_label_is_that_of_the_image_that_carries_it(digits):
    learner = made("forward-forward", digits[0], hidden=[30, 20])
    x = digits[1].tensor()[:12]
    logits = learner.classifier()(x)
    for label in (0, 3, 9):
        h = x.flatten(1).clone()
        h[:, :10] = F.one_hot(torch.full((12,), label), 10).float()
        for i in range(2):
            h = F.normalize(h, dim=1) * h.shape[1] ** 0.5
            h = F.relu(h @ learner.tensors[f"weight{i}"] + learner.tensors[f"bias{i}"])
        torch.testing.assert_close(
            logits[:, label], forward_forward.SHARPNESS * h.square().mean(1), rtol=1e-3, atol=1e-3
        )


def test_layers_descend_on_their_own_objective_and_no_error_crosses_them(digits):
    x, y = digits[0].tensor()[:30], torch.from_numpy(digits[0].labels[:30])
    learner = made("forward-forward", digits[0], hidden=[16, 12])
    rule = learner.rule(learner.tensors, adapting=False)
    false = (y + 3) % 10
    rule.draw = lambda weights: false
    leaves = [p.clone().requires_grad_() for p in in_turn(learner.tensors)]

    class Recorded:
        def step(self, gradients, rate):
            self.gradients = gradients

    rule.optimiser = Recorded()
    rule.step(x, y, 0.5)
    flat, loss = x.flatten(1), 0.0
    for labels, sign in ((y, 1), (false, -1)):
        h = torch.cat([F.one_hot(labels, 10).float(), flat[:, 10:]], 1)
        for i in range(2):
            h = (
                h / (h.norm(dim=1, keepdim=True) + forward_forward.SMALLEST) * h.shape[1] ** 0.5
            ).detach()
            h = F.relu(h @ leaves[2 * i] + leaves[2 * i + 1])
            loss = loss + F.softplus(sign * (2.0 - h.square().mean(1))).mean()
    for ours, theirs in zip(
        rule.optimiser.gradients, torch.autograd.grad(loss, leaves), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_forward_forward_learns(digits):
    learner = made("forward-forward", digits[0], hidden=[200, 200], epochs=30)
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.9


@pytest.mark.parametrize("perturb", ["nodes", "weights"])
def test_perturbation_estimates_the_gradient(digits, perturb):
    """The mean over many trials points where backpropagation does, and is as long."""
    x, y = digits[0].tensor()[:8], torch.from_numpy(digits[0].labels[:8])
    learner = made("perturbation", digits[0], perturb=perturb, hidden=6, trials=4000, sigma=1e-2)
    leaves = [p.clone().requires_grad_() for p in in_turn(learner.tensors)]
    expected = torch.autograd.grad(F.cross_entropy(perceptron(x.flatten(1), leaves), y), leaves)
    rule = learner.rule(learner.tensors, adapting=False)

    class Recorded:
        def step(self, gradients, rate):
            self.gradients = gradients

    rule.optimiser = Recorded()
    rule.step(x, y, 0.5)
    ours, theirs = (
        torch.cat([g.flatten() for g in part]) for part in (rule.optimiser.gradients, expected)
    )
    assert F.cosine_similarity(ours, theirs, 0) > 0.9
    assert ours @ theirs / (theirs @ theirs) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("perturb", "least"), [("nodes", 0.85), ("weights", 0.3)])
def test_perturbation_learns_slowly(digits, perturb, least):
    learner = made("perturbation", digits[0], perturb=perturb, hidden=30, epochs=40)
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > least


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_the_code_of_krotov_hopfield_is_its_equation(digits, p):
    """ReLU(I)^n, of weights at p-norm one and images at length one."""
    learner = made("krotov-hopfield", digits[0], hidden=7, p=p, power=3.0)
    x, w = digits[0].tensor()[:6].flatten(1), learner.tensors["weight"]
    w = w / (w.abs() ** p).sum(0) ** (1 / p)
    inputs = x / x.norm(dim=1, keepdim=True) @ (w.sign() * w.abs() ** (p - 1))
    torch.testing.assert_close(
        learner.embed(x.view(6, 1, 8, 8)), inputs.clamp_min(0) ** 3, rtol=1e-4, atol=1e-6
    )


def test_the_code_of_softhebb_is_its_equation(digits):
    """softmax(u / code_tau), of images at length one."""
    learner = made("softhebb", digits[0], hidden=7, code_tau=0.3)
    x = digits[0].tensor()[:6].flatten(1)
    u = x / x.norm(dim=1, keepdim=True) @ learner.tensors["weight"]
    torch.testing.assert_close(
        learner.embed(x.view(6, 1, 8, 8)), torch.softmax(u / 0.3, 1), rtol=1e-4, atol=1e-6
    )
