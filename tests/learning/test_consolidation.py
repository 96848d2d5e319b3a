"""Consolidation: its terms against loops and closed forms, and what it does to a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from baselines.mlp import Mlp
from harness.data.base import Images
from harness.learning.consolidation import (
    METHODS,
    ConsolidationConfig,
    Ewc,
    OnlineEwc,
    SynapticIntelligence,
    WithoutForgetting,
    perceptron_fisher,
)
from harness.learning.nets import init_perceptron, perceptron
from harness.rng import Rng

every_method = pytest.mark.parametrize("method", METHODS)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(x: torch.Tensor, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return x @ tensors["weight0"]


def made(cls, **keys):
    """A method, on its own, that remembers nothing yet."""
    return cls(ConsolidationConfig(**keys), {}, linear, 3)


def looped_fisher(parameters, x, among, inhibited):
    """One backward pass for each image and class."""
    leaves = [p.clone().requires_grad_() for p in parameters]
    total = [torch.zeros_like(p) for p in parameters]
    for i in range(len(x)):
        logits = perceptron(x[i : i + 1], leaves, inhibited=inhibited)
        if among is not None:
            logits = logits.masked_fill(~among[i : i + 1], -1e9)
        log_p = F.log_softmax(logits, 1)[0]
        for c in range(len(log_p)):
            gradients = torch.autograd.grad(log_p[c], leaves, retain_graph=True)
            for sums, gradient in zip(total, gradients, strict=True):
                sums += log_p[c].exp().detach() * gradient.square() / len(x)
    return total


@pytest.mark.parametrize("inhibited", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
def test_fisher_of_three_layers_is_that_of_a_loop_over_images(inhibited, is_masked):
    start = init_perceptron([5, 6, 4, 3], Rng(0).torch("weights"))
    parameters = [p.double() + 0.1 * drawn(*p.shape, seed=1) for p in start]
    x = drawn(11, 5)
    among = torch.tensor([[True, False, True]]).repeat(11, 1) if is_masked else None
    got = perceptron_fisher(parameters, x, among, inhibited=inhibited)
    for ours, loop in zip(got, looped_fisher(parameters, x, among, inhibited), strict=True):
        torch.testing.assert_close(ours, loop, rtol=1e-6, atol=1e-9)


def test_fisher_of_logistic_regression_is_its_textbook_form():
    weight, bias, x = drawn(4, 2), torch.zeros(1, 2, dtype=torch.float64), drawn(300, 4, seed=1)
    p = torch.softmax(x @ weight, 1)[:, 0]
    expected = (p * (1 - p)) @ x.square() / len(x)
    for_weight, for_bias = perceptron_fisher([weight, bias], x)
    torch.testing.assert_close(for_weight, expected[:, None].expand(4, 2))
    torch.testing.assert_close(for_bias, (p * (1 - p)).mean().expand(1, 2))


@pytest.mark.parametrize("cls", [Ewc, OnlineEwc, SynapticIntelligence])
def test_the_penalty_does_not_pull_where_the_task_ended(cls):
    method = made(cls)
    weight = drawn(4, 3)
    method.pull("w", weight)
    method.moved("w", -torch.ones_like(weight), torch.full_like(weight, 0.1))
    method.settle({"w": weight}, lambda: {"w": drawn(4, 3, seed=1).square()}, torch.tensor([0]))
    assert torch.equal(method.pull("w", weight), torch.zeros_like(weight))
    moved = weight + 0.1
    assert (method.pull("w", moved) > 0).all(), "it pulls back to where the task ended"


def test_ewc_keeps_one_quadratic_a_task():
    method = made(Ewc, strength=3.0)
    ends = [drawn(5, seed=seed) for seed in (1, 2)]
    importances = [drawn(5, seed=seed).square() for seed in (3, 4)]
    for end, importance in zip(ends, importances, strict=True):
        method.settle({"w": end}, lambda f=importance: {"w": f}, torch.tensor([0]))
    w = drawn(5).requires_grad_()
    pairs = zip(ends, importances, strict=True)
    penalty = sum(1.5 * (f * (w - end) ** 2).sum() for end, f in pairs)
    torch.testing.assert_close(method.pull("w", w.detach()), torch.autograd.grad(penalty, w)[0])


def test_online_ewc_fades_older_importance():
    method = made(OnlineEwc, strength=1.0, ewc_decay=0.5)
    for end in (0.0, 1.0):
        method.settle({"w": torch.full((2,), end)}, lambda: {"w": torch.ones(2)}, torch.tensor([0]))
    torch.testing.assert_close(method.pull("w", torch.full((2,), 3.0)), torch.full((2,), 3.0))


def test_importance_along_a_path_is_that_of_gradient_descent_on_a_quadratic():
    """With w_k - b = (1 - r a)^k (w_0 - b), omega = r a^2 (w_0 - b)^2 sum_k (1 - r a)^2k."""
    curvature, goal = drawn(6).abs() + 0.5, drawn(6, seed=1)
    start, rate, steps, damping = torch.zeros(6, dtype=torch.float64), 0.1, 40, 0.1
    method = made(SynapticIntelligence, si_damping=damping, strength=1.0)
    weight = start.clone()
    for _ in range(steps):
        gradient = curvature * (weight - goal)
        assert not torch.as_tensor(method.pull("w", weight)).any(), "nothing came before"
        change = -rate * gradient
        method.moved("w", gradient, change)
        weight = weight + change
    method.settle({"w": weight}, dict, torch.tensor([0]))
    shrinks = (1 - rate * curvature) ** 2
    path = rate * (curvature * (start - goal)) ** 2 * (1 - shrinks**steps) / (1 - shrinks)
    expected = path / ((weight - start) ** 2 + damping)
    torch.testing.assert_close(method.carried["importance.w"], expected)
    assert not method.carried["path.w"].any()


def test_the_teacher_is_the_network_of_the_last_task_on_its_classes():
    method = made(WithoutForgetting, distil_temperature=2.0)
    x, weight = drawn(7, 4), drawn(4, 3, seed=1)
    loss = torch.tensor(0.6, dtype=torch.float64)
    assert method.loss(loss, x @ weight, x) == loss, "the first task has no teacher"
    method.settle({"weight0": weight}, dict, torch.tensor([0, 2]))
    torch.testing.assert_close(method.loss(loss, x @ weight, x), loss / 2)
    other = (x @ weight + drawn(7, 3, seed=2)).requires_grad_()
    got = method.loss(loss, other, x)
    p = torch.softmax((x @ weight)[:, [0, 2]] / 2, 1)
    log_q = torch.log_softmax(other[:, [0, 2]] / 2, 1)
    expected = loss / 2 + 0.5 * 4 * (p * (p.log() - log_q)).sum(1).mean()
    torch.testing.assert_close(got, expected)
    assert not torch.autograd.grad(got, other)[0][:, 1].any(), "class 1 was not there before"


def two_tasks() -> list[Images]:
    """Classes 0 and 1 by the first half of the pixels, then 2 and 3 by the second."""
    generator = np.random.default_rng(0)
    parts = []
    for first in (0, 2):
        labels = first + np.arange(60) % 2
        pixels = generator.integers(0, 60, (60, 1, 4, 4))
        pixels[np.arange(60), 0, labels] += 190
        index = np.arange(60) + 60 * first
        parts.append(Images(pixels.astype(np.uint8), labels.astype(np.int64), index, 4))
    return parts


def network(method: str, **keys) -> Mlp:
    config = Mlp.Config(hidden=20, lr=0.01, batch_size=10, consolidate=method, **keys)
    return Mlp(config, (1, 4, 4), 4, Rng(0))


def streamed(learner: Mlp, parts: list[Images]) -> None:
    for part in parts:
        for _ in range(3):
            learner.go_on(part)
        learner.settle(part)


@every_method
def test_a_loaded_learner_protects_as_the_one_that_was_saved(method):
    first, second = two_tasks()
    straight = network(method)
    streamed(straight, [first])
    loaded = network(method)
    loaded.load_state_dict({k: v.clone() for k, v in straight.state_dict().items()})
    for learner in (straight, loaded):
        streamed(learner, [second])
    states = straight.state_dict(), loaded.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@every_method
def test_protected_networks_remember_the_first_task_better(method):
    """The second task is the first with its labels exchanged: it undoes what was learned."""
    first = two_tasks()[0]
    second = Images(first.pixels, 1 - first.labels, first.index, 4)
    strength = {"ewc": 1e4, "online-ewc": 1e4, "si": 30.0, "lwf": 0.0}[method]
    losses = []
    for learner in (network("none"), network(method, strength=strength)):
        streamed(learner, [first, second])
        with torch.no_grad():
            logits = learner.classifier()(first.tensor())
        losses.append(float(F.cross_entropy(logits, torch.from_numpy(first.labels))))
    assert losses[1] < 0.8 * losses[0], losses


def test_outputs_that_no_image_was_told_apart_from_are_not_important():
    first = two_tasks()[0]
    rivals = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
    learner = network("ewc")
    learner.go_on(first, rivals=rivals)
    learner.settle(first, rivals=rivals)
    importance = learner.state_dict()["carried.importance.bias1"][0]
    assert (importance[:2] > 0).all() and not importance[2:].any()


def test_without_a_method_nothing_is_remembered():
    learner = network("none")
    learner.go_on(two_tasks()[0])
    before = learner.state_dict()
    learner.settle(two_tasks()[0])
    assert before.keys() == learner.state_dict().keys()


def test_keys_at_their_defaults_are_not_written():
    """Results that were published before these keys existed keep their identity."""
    written = Mlp.Config().model_dump(mode="json")
    assert not {*written} & {*ConsolidationConfig.model_fields}
    assert Mlp.Config(consolidate="si").model_dump(mode="json")["consolidate"] == "si"
