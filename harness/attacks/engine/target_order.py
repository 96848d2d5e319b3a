"""In which order an attack with targets aims at the wrong classes."""

from __future__ import annotations

from harness.attacks.engine.geometry import DUAL, finite, norms
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import Victim
from harness.lazy import torch

CANDIDATES = 100
"""Classes of largest logit that are ranked by distance; each costs a gradient of every image."""


def by_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Classes by clean logit, the largest first and the right class last.

    Args:
        logits: (B, n), of the clean images.
        labels: int64 (B,).

    Returns:
        int64 (B, n).

    >>> import torch
    >>> by_logits(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([1]))
    tensor([[2, 0, 1]])
    """
    wrong = logits.scatter(1, labels[:, None], float("-inf"))
    return wrong.argsort(dim=1, descending=True, stable=True)


def by_distance(
    victim: Victim, images: torch.Tensor, labels: torch.Tensor, logits: torch.Tensor, norm: str
) -> torch.Tensor:
    """Classes by the distance of their boundary, if the network were linear (MALT).

    Melamed et al. 2024 (MALT powers up adversarial attacks): the difference of logits, divided by
    the size of its gradient. That size is taken in the dual norm of the budget, so that the order
    is exact for a linear network, as long as the box does not bind.

    Args:
        victim: the network.
        images: float32 (B, C, H, W).
        labels: int64 (B,).
        logits: (B, n), of the images.
        norm: ``linf``, ``l2`` or ``l1``.

    Returns:
        int64 (B, n): the nearest class first; then those that are not ranked, by logit.
    """
    order = by_logits(logits, labels)
    right = logits.gather(1, labels[:, None]).squeeze(1)
    distances = []
    for targets in order[:, :-1][:, :CANDIDATES].unbind(1):
        gap = right - logits.gather(1, targets[:, None]).squeeze(1)
        slope = norms(_slope(victim, images, labels, targets), DUAL[norm])
        # No gradient, no boundary that a step could reach.
        distances.append(torch.where(slope > 0, gap / slope, float("inf")))
    ranked = torch.stack(distances, 1).argsort(dim=1, stable=True)
    number = ranked.shape[1]
    return torch.cat([order.gather(1, ranked), order[:, number:]], 1)


def _slope(
    victim: Victim, images: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Gradient of the margin towards a class, like ``images``."""
    gradients = []
    for rows in torch.arange(len(images), device=images.device).split(victim.batch_size):
        gradient, _ = victim.gradient(images[rows], labels[rows], targets[rows], LOSSES["margin"])
        gradients.append(finite(gradient))
    return torch.cat(gradients)
