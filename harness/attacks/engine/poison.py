"""An attack on a support set: its images are moved so that the classifier made from them errs on other images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.attacks.engine.geometry import climb, project
from harness.lazy import F, torch

Classify = Callable[["torch.Tensor"], "torch.Tensor"]
"""A support set (S, C, H, W) to the logits (Q, n_way) that the classifier made from it gives some fixed images."""


@dataclass(frozen=True)
class Poisoned:
    """What came of it.

    Attributes:
        images: float32 (S, C, H, W), in the box and each within the budget.
        before, after: the mean cross-entropy with the clean support set, and with this one.
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
    """Climb the mean cross-entropy with all support images together, from the clean ones; the best iterate counts.

    Steps of 2.5 / steps of the budget, as PGD's (Madry et al. 2018). Nothing is drawn at random.

    Args:
        classify: differentiable with respect to the support set.
        support: float32 (S, C, H, W) in [0, 1].
        labels: int64 (Q,), of the images that ``classify`` is about.
        norm: ``linf``, ``l2`` or ``l1``, of each image's own perturbation.
        eps: the budget of each image.
    """
    points, losses, best = support, [], support
    for step in range(steps + 1):
        gradient, loss = _uphill(classify, points, labels)
        if loss > max(losses, default=float("-inf")):
            best = points
        losses.append(loss)
        if step < steps:
            points = project(climb(points, gradient, norm, 2.5 / steps * eps), support, norm, eps)
    return Poisoned(best, losses[0], max(losses))


def passes_gradient(classify: Classify, support: torch.Tensor) -> bool:
    """Whether the logits depend on the support set in a way that can be climbed."""
    with torch.enable_grad():
        inputs = support.clone().requires_grad_()
        logits = classify(inputs)
        return (
            logits.requires_grad
            and torch.autograd.grad(logits.sum(), inputs, allow_unused=True)[0] is not None
        )


def _uphill(
    classify: Classify, points: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, float]:
    with torch.enable_grad():
        inputs = points.clone().requires_grad_()
        loss = F.cross_entropy(classify(inputs), labels)
    return torch.autograd.grad(loss, inputs)[0], float(loss.detach())
