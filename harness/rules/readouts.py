"""Read-outs of a sparse code, for E tasks at once: one-shot, by three factors, or by trial.

Shapes: codes h (E, S, H), labels (E, S), weights V (E, H, C), one-hot targets t (E, S, C).
"""

from __future__ import annotations

from collections.abc import Callable

from harness.lazy import F, torch
from harness.learning.learner import Progress, silent

TRACE = 0.001
"""Strength of every imprinted synapse, at least: the delta rule multiplies and cannot revive 0."""


def logits(codes: torch.Tensor, weight: torch.Tensor, gain: float) -> torch.Tensor:
    """o_c = g (h . V_c - mean over c' of h . V_c'): the mean is a uniform inhibitory pool."""
    o = torch.bmm(codes, weight)
    return (o - o.mean(2, keepdim=True)).mul_(gain)


def delta_drive(
    codes: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, gain: float
) -> torch.Tensor:
    """G_jc = <h_j (t_c - p_c)>: presynaptic activity times the error of the output neuron.

    Here p = softmax(o), and the mean is over the batch.
    """
    p = torch.softmax(logits(codes, weight, gain), dim=2)
    error = targets - p
    return torch.bmm(codes.transpose(1, 2), error) / codes.shape[1]


def perturbation_drive(
    codes: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor,
    gain: float,
    sigma: float,
    trials: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Estimate -dL / dlog V of the cross-entropy L from losses alone, by weight perturbation.

        G = -mean over trials of (L(V exp(s xi)) - L(V exp(-s xi))) xi / (2 s), xi normal

    The authors' ancestor rule is said to perturb weights. Here it is log weights, so that weights
    stay excitatory. All tasks share the perturbations.

    Args:
        codes: h.
        targets: t.
        weight: V.
        gain: g of the logits.
        sigma: s.
        trials: Number of antithetic pairs.
        generator: Draws xi.
    """
    estimate = torch.zeros_like(weight)
    for _ in range(trials):
        xi = torch.randn(weight.shape[1:], generator=generator).to(weight.device)
        factor = (sigma * xi).exp_()
        loss_up = cross_entropy(codes, targets, weight * factor, gain)
        loss_down = cross_entropy(codes, targets, weight / factor, gain)
        slope = (loss_down - loss_up) / (2 * sigma * trials)
        estimate.add_(slope.view(-1, 1, 1) * xi)
    return estimate


def cross_entropy(
    codes: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, gain: float
) -> torch.Tensor:
    """Mean cross-entropy of each task, (E,)."""
    log_p = F.log_softmax(logits(codes, weight, gain), dim=2)
    return -(targets * log_p).sum(2).mean(1)


def step(weight: torch.Tensor, push: torch.Tensor, rate: float, clip: float) -> None:
    """V <- V exp(clip(eta G / rms(G))) in place; the RMS is over each task's G."""
    rms = push.square().mean((1, 2), keepdim=True).sqrt_().clamp_min_(1e-12)
    weight.mul_((push / rms).mul_(rate).clamp_(-clip, clip).exp_())


def descend(
    weight: torch.Tensor,
    drive: Callable[[torch.Tensor], torch.Tensor],
    *,
    steps: int,
    rate: float,
    clip: float,
    progress: Progress = silent,
) -> None:
    """Take steps whose rate falls linearly to zero.

    Args:
        weight: V, changed in place.
        drive: Gives G for the current V.
        steps: Number of steps.
        rate: eta of the first step.
        clip: Largest log-step.
        progress: Called after every step.
    """
    for i in range(steps):
        step(weight, drive(weight), rate * (1 - i / steps), clip)
        progress((i + 1) / steps, f"read-out, step {i + 1} of {steps}")


def draw_batch(
    codes: torch.Tensor, targets: torch.Tensor, size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ``size`` rows of one task with replacement; take all if there are no more than that.

    Args:
        codes: (N, H).
        targets: (N, C).
        size: Rows of the batch.
        generator: Draws the rows.

    Returns:
        Codes (1, S, H) and targets (1, S, C).
    """
    if size >= len(codes):
        return codes.unsqueeze(0), targets.unsqueeze(0)
    rows = torch.randint(len(codes), (size,), generator=generator).to(codes.device)
    return codes[rows].unsqueeze(0), targets[rows].unsqueeze(0)


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """int64 (..., S) to float32 (..., S, C)."""
    return F.one_hot(labels, classes).to(torch.float32)


def class_means(codes: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Mean code of each class, (E, C, H): one-shot Hebbian imprinting of <h_j t_c> / <t_c>."""
    targets = one_hot(labels, classes)
    sums = torch.bmm(targets.transpose(1, 2), codes)
    return sums / targets.sum(1).clamp_min_(1.0).unsqueeze(2)


def imprint(codes: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """V_c = m_c / |m_c| + trace, with m_c the mean code of class c.

    The mean is Hebbian learning; the length is heterosynaptic depression.

    Args:
        codes: (E, S, D).
        labels: (E, S).
        classes: Number of classes.

    Returns:
        V, (E, D, classes).
    """
    means = class_means(codes, labels, classes)
    length = torch.linalg.vector_norm(means, dim=2, keepdim=True).clamp_min(1e-12)
    return (means / length + TRACE).transpose(1, 2).contiguous()
