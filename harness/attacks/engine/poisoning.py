"""Poisoning: perturb the support images of an episode, so that the adapted classifier errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.attacks.engine.geometry import project, steepest_step
from harness.lazy import F, torch

Classify = Callable[["torch.Tensor"], "torch.Tensor"]
"""Adapts to support images (S, C, H, W), and gives the logits (Q, n_way) of some fixed images."""


@dataclass(frozen=True)
class Poisoned:
    """The result of poisoning.

    Attributes:
        images: float32 (S, C, H, W), in the box and each within the budget.
        before: the mean cross-entropy with the clean support images.
        after: the mean cross-entropy with these.
    """

    images: torch.Tensor
    before: float
    after: float


def poison(
    classify: Classify,
    support: torch.Tensor,
    labels: torch.Tensor,
    *,
    norm: str,
    eps: float,
    steps: int,
) -> Poisoned:
    """Climb the mean cross-entropy with all support images together, and return the best iterate.

    It starts at the clean images and takes steps of 2.5 / steps of the budget, like PGD (Madry et
    al. 2018). Nothing is random.

    Args:
        classify: differentiable with respect to the support images.
        support: float32 (S, C, H, W) in [0, 1].
        labels: int64 (Q,), of the images that ``classify`` gives logits of.
        norm: ``linf``, ``l2`` or ``l1``, of each image's own perturbation.
        eps: the budget of each image.
        steps: number of gradient steps.
    """
    points = support
    best = support
    losses: list[float] = []
    for step in range(steps + 1):
        gradient, loss = _gradient(classify, points, labels)
        if loss > max(losses, default=float("-inf")):
            best = points
        losses.append(loss)
        if step < steps:
            ahead = steepest_step(points, gradient, norm, 2.5 / steps * eps)
            points = project(ahead, support, norm, eps)
    return Poisoned(best, losses[0], max(losses))


def passes_gradient(classify: Classify, support: torch.Tensor) -> bool:
    """Whether the logits have a gradient with respect to the support images."""
    with torch.enable_grad():
        inputs = support.clone().requires_grad_()
        logits = classify(inputs)
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.sum(), inputs, allow_unused=True)
        return gradient is not None


def _gradient(
    classify: Classify, points: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Gradient of the mean cross-entropy, and its value."""
    with torch.enable_grad():
        inputs = points.clone().requires_grad_()
        loss = F.cross_entropy(classify(inputs), labels)
    (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient, float(loss.detach())
