"""Read-out rules against autograd and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from harness.rng import Rng
from harness.rules import readouts
from harness.rules.competition import resolved

GAIN = 3.0


def problem(tasks: int = 3, samples: int = 40, hidden: int = 12, classes: int = 4):
    """Sparse codes that separate the classes, labels, and initial weights."""
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


def test_logits_are_the_gain_times_the_drive_above_the_pool():
    codes, _, weight = problem()
    h, v = codes.double().numpy(), weight.double().numpy()
    drive = np.einsum("esh,ehc->esc", h, v)
    expected = GAIN * (drive - drive.mean(2, keepdims=True))
    np.testing.assert_allclose(readouts.logits(codes, weight, GAIN).numpy(), expected, atol=1e-6)


def test_a_step_multiplies_by_the_exponential_of_the_push_in_units_of_its_rms():
    """V exp(clip(eta G / rms(G))), the RMS over each task's G."""
    _, _, weight = problem()
    push = torch.randn(weight.shape, generator=Rng(0).torch("push"))
    push = push * torch.tensor([1.0, 30.0, 0.01])[:, None, None]
    v, g = weight.double().numpy().copy(), push.double().numpy()
    readouts.step(weight, push, 0.2, 0.25)
    log_step = 0.2 * g / np.sqrt((g**2).mean((1, 2), keepdims=True))
    assert (np.abs(log_step) > 0.25).any()
    expected = v * np.exp(np.clip(log_step, -0.25, 0.25))
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5)


def test_the_rate_of_a_descent_falls_linearly_to_zero():
    weight, push = torch.ones(1, 3, 2), torch.tensor([[[1.0, -1.0]] * 3])
    seen = []

    def drive(v: torch.Tensor) -> torch.Tensor:
        seen.append(v.clone())
        return push

    readouts.descend(weight, drive, steps=4, rate=0.1, clip=1.0)
    total = 0.1 * (1 + 0.75 + 0.5 + 0.25)
    np.testing.assert_allclose(weight.numpy(), np.exp(total * push.numpy()), rtol=1e-5)
    assert len(seen) == 4 and torch.equal(seen[0], torch.ones(1, 3, 2))


def test_perturbations_are_antithetic_losses_times_the_perturbation():
    """Two trials by hand: -(L(V e^{s xi}) - L(V e^{-s xi})) xi / 2 s, averaged."""
    codes, labels, weight = problem(tasks=1)
    targets = one_hot(labels, 4).float()
    sigma, generator, expected = 0.3, Rng(0).torch("trials"), np.zeros((12, 4))
    for _ in range(2):
        xi = torch.randn(12, 4, generator=generator)
        up, down = (
            losses(codes, labels, weight * (sign * sigma * xi).exp()).item() for sign in (1, -1)
        )
        expected += -(up - down) * xi.numpy() / (2 * sigma) / 2
    got = readouts.perturbation_drive(
        codes, targets, weight, GAIN, sigma, 2, Rng(0).torch("trials")
    )
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-3, atol=1e-5)


def test_a_batch_is_drawn_with_replacement_and_all_codes_are_taken_if_they_fit():
    codes, targets = torch.arange(12.0).view(6, 2), torch.eye(6)
    x, t = readouts.draw_batch(codes, targets, 4, Rng(0).torch("rows"))
    rows = torch.randint(6, (4,), generator=Rng(0).torch("rows"))
    assert torch.equal(x, codes[rows][None]) and torch.equal(t, targets[rows][None])
    x, t = readouts.draw_batch(codes, targets, 6, Rng(0).torch("rows"))
    assert torch.equal(x, codes[None]) and torch.equal(t, targets[None])


def test_responses_too_small_for_their_sum_are_zero_in_learning():
    q = torch.tensor([[[1.0 - 2**-20, 2**-20, 2**-24, 1e-12, 1e-40]]])
    assert resolved(q).tolist() == [[[1.0 - 2**-20, 2**-20, 0.0, 0.0, 0.0]]]


def test_progress_counts_every_step_of_a_readout():
    seen = []
    weight = torch.ones(1, 3, 2)
    readouts.descend(
        weight,
        torch.ones_like,
        steps=4,
        rate=0.1,
        clip=0.3,
        progress=lambda fraction, note: seen.append((fraction, note)),
    )
    assert [fraction for fraction, _ in seen] == [0.25, 0.5, 0.75, 1.0]
    assert seen[1][1] == "read-out, step 2 of 4"
