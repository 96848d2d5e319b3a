"""Nearest prototypes, several a class: bounds without a relaxation. This file imports torch.

A class's logit falls with the smallest squared distance to its prototypes. Of two prototypes,

    |x - w_j|^2 - |x - w_i|^2 = 2 x . (w_i - w_j) + |w_j|^2 - |w_i|^2

is linear in x, so its least value in a ball and the box is known. A wrong prototype j wins only
where it beats all right ones i. So the margin to j is at least the largest over i of that value
(a half-space each), and the margin to a class the smallest over its j. For the L2 ball without
the box this is the half-space radius, which follows Voracek & Hein, ICML 2022, arXiv 2207.07208.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.bounds.affine import Reshaped, Scaled
from harness.bounds.domain import Domain
from harness.bounds.graph import Graph
from harness.bounds.rounding import gamma
from harness.bounds.shaped import Extreme, SquaredDistances


@dataclass(frozen=True)
class Prototypes:
    """A nearest-prototype classifier.

    Attributes:
        prototypes: w, float64 (P, n).
        classes: int64 (P,), of each prototype.
        scale: A class's logit is minus this times its smallest squared distance; positive.
    """

    prototypes: torch.Tensor
    classes: torch.Tensor
    scale: float

    @classmethod
    def of(cls, graph: Graph) -> Prototypes | None:
        """The parts of a network of this kind; None if it is of another kind."""
        first = graph.steps[1].op if len(graph.steps) > 1 else None
        if not isinstance(first, SquaredDistances):
            return None
        count = len(first.prototypes)
        places = torch.arange(count, device=first.prototypes.device).unsqueeze(0)
        factor = 1.0
        grouped = False
        for step in graph.steps[2:]:
            op = step.op
            if isinstance(op, Scaled) and op.factor.numel() == 1 and not op.shift.any():
                factor *= float(op.factor)
            elif isinstance(op, Reshaped) and not grouped:
                places = op.linear(places)
            elif isinstance(op, Extreme) and not grouped and op.largest == (factor < 0):
                grouped = True
            else:
                return None
        if factor >= 0:
            return None
        members = places[0] if grouped else places[0].unsqueeze(1)  # (classes, prototypes)
        classes = torch.empty_like(places.flatten())
        each = torch.arange(len(members), device=classes.device)
        classes[members.flatten()] = each.repeat_interleave(members.shape[1])
        return cls(first.prototypes, classes, -factor)


def margins(parts: Prototypes, domain: Domain, labels: torch.Tensor) -> torch.Tensor:
    """Lower bounds of the margins of the network in float32, (B, classes)."""
    classes = int(parts.classes.max()) + 1
    bound = torch.zeros(len(labels), classes, dtype=torch.float64, device=labels.device)
    for label in labels.unique().tolist():
        rows = labels == label
        here = Domain(domain.images[rows], domain.eps, domain.norm)
        bound[rows] = _margins_of_class(parts, here, label, classes)
    bound = parts.scale * (bound - _rounding(parts, domain))
    return bound.scatter(1, labels.unsqueeze(1), 0.0)


def _margins_of_class(parts: Prototypes, domain: Domain, label: int, classes: int) -> torch.Tensor:
    """Margins of images of one class, in squared distances, (B, classes)."""
    right = parts.prototypes[parts.classes == label]
    towards = torch.full((len(domain.images), classes), torch.inf, dtype=torch.float64)
    towards = towards.to(right.device)
    for prototype, other in zip(parts.prototypes, parts.classes.tolist(), strict=True):
        rows = 2 * (right - prototype).unsqueeze(0)
        constant = prototype.square().sum() - right.square().sum(1)
        least = (domain.minimum(rows.expand(len(domain.images), -1, -1)) + constant).amax(1)
        towards[:, other] = torch.minimum(towards[:, other], least)
    return towards


def _rounding(parts: Prototypes, domain: Domain) -> torch.Tensor:
    """Largest error of a difference of squared distances in float32, (B, 1)."""
    pixels = domain.box.flatten()
    n = parts.prototypes.shape[1]
    farthest = torch.zeros(len(pixels.low), dtype=torch.float64, device=pixels.low.device)
    for prototype in parts.prototypes:
        apart = torch.maximum((prototype - pixels.low).abs(), (prototype - pixels.high).abs())
        farthest = torch.maximum(farthest, apart.square().sum(1))
    # Differences, squares, their sum, and the scale of the logits.
    return (2 * gamma(n + 8) * farthest).unsqueeze(1)


def radius(images: torch.Tensor, labels: torch.Tensor, parts: Prototypes) -> torch.Tensor:
    """The L2 distance within which no image changes class, by half-spaces; without the box.

        min over wrong j, max over right i: (|x - w_j|^2 - |x - w_i|^2) / (2 |w_j - w_i|)

    Args:
        images: float64 (B, ...).
        labels: int64 (B,).
        parts: The classifier.

    Returns:
        (B,); 0 for an image that is classified wrongly.
    """
    flat = images.flatten(1)
    squared = torch.cdist(flat, parts.prototypes).square()
    between = torch.cdist(parts.prototypes, parts.prototypes)
    gap = (squared.unsqueeze(1) - squared.unsqueeze(2)) / (2 * between)  # (B, i, j)
    is_right = parts.classes == labels.unsqueeze(1)  # (B, P)
    best = gap.masked_fill(~is_right.unsqueeze(2), -torch.inf).amax(1)
    return best.masked_fill(is_right, torch.inf).amin(1).clamp_min(0)
