"""Read-out rules against autograd and against each other."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from harness.rng import Rng
from harness.rules import readouts

GAIN = 3.0


def problem(tasks: int = 3, samples: int = 40, hidden: int = 12, classes: int = 4):
    """Sparse codes that tell the classes apart, labels, and young weights."""
    generator = Rng(0).torch("problem")
    labels = torch.randint(classes, (tasks, samples), generator=generator)
    clue = torch.rand(tasks, classes, hidden, generator=generator)
    noise = torch.rand(tasks, samples, hidden, generator=generator)
    codes = torch.softmax(
        6 * (torch.gather(clue, 1, labels.unsqueeze(2).expand(-1, -1, hidden)) + 0.5 * noise), dim=2
    )
    return codes, labels, 0.01 + 0.09 * torch.rand(tasks, hidden, classes, generator=generator)


def losses(codes, labels, weight) -> torch.Tensor:
    logits = readouts.logits(codes, weight, GAIN)
    return torch.stack([cross_entropy(o, y) for o, y in zip(logits, labels, strict=True)])


def test_the_delta_rule_is_the_negative_gradient_of_the_cross_entropy():
    codes, labels, weight = problem()
    weight.requires_grad_()
    drive = torch.bmm(codes, weight)
    logits = GAIN * (drive - drive.mean(2, keepdim=True))
    sum(cross_entropy(o, y) for o, y in zip(logits, labels, strict=True)).backward()
    push = readouts.delta_drive(codes, one_hot(labels, 4).float(), weight.detach(), GAIN)
    torch.testing.assert_close(GAIN * push, -weight.grad, rtol=1e-4, atol=1e-7)


def test_perturbation_estimates_the_gradient_in_log_space():
    codes, labels, weight = problem(tasks=1)
    targets = one_hot(labels, 4).float()
    exact = GAIN * weight * readouts.delta_drive(codes, targets, weight, GAIN)
    estimate = readouts.perturbation_drive(
        codes, targets, weight, GAIN, 0.01, 2000, Rng(0).torch("trials")
    )
    assert torch.cosine_similarity(exact.flatten(), estimate.flatten(), dim=0) > 0.97
    assert estimate.norm() == pytest.approx(exact.norm().item(), rel=0.1)


@pytest.mark.parametrize("rule, least", [("delta", 0.5), ("perturbation", 0.8)])
def test_learning_lowers_the_cross_entropy_of_every_task_and_keeps_weights_excitatory(rule, least):
    codes, labels, weight = problem()
    targets, generator = one_hot(labels, 4).float(), Rng(0).torch("trials")
    before = losses(codes, labels, weight)
    for _ in range(100):
        push = (
            readouts.delta_drive(codes, targets, weight, GAIN)
            if rule == "delta"
            else readouts.perturbation_drive(codes, targets, weight, GAIN, 0.05, 8, generator)
        )
        readouts.step(weight, push, 0.05, 0.5)
    assert (losses(codes, labels, weight) < least * before).all() and (weight > 0).all()


def test_one_step_is_a_bounded_exponential_whatever_the_push():
    _, _, weight = problem()
    before = weight.clone()
    readouts.step(
        weight, 1e20 * torch.randn(weight.shape, generator=Rng(0).torch("push")), 1e6, 0.5
    )
    assert (weight / before).log().abs().max() <= 0.5 + 1e-6


def test_no_push_changes_nothing():
    _, _, weight = problem()
    before = weight.clone()
    readouts.step(weight, torch.zeros_like(weight), 0.1, 0.5)
    assert torch.equal(weight, before)


def test_class_means_are_the_means_of_each_class():
    codes, labels, _ = problem()
    means = readouts.class_means(codes, labels, 4)
    for task in range(3):
        for c in range(4):
            torch.testing.assert_close(means[task, c], codes[task, labels[task] == c].mean(0))
