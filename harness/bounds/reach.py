"""How far the exponents of a competitive code can move within a budget. This file imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch

from harness.bounds.box import Box
from harness.bounds.codes import Clean
from harness.bounds.domain import Domain
from harness.bounds.normalised import scale_slices

ROUNDED = 1e-12
"""Relative error of a difference of squares in float64, at most."""


class Reach(ABC):
    """What the exponents tau can be on a part of the domain.

    Attributes:
        tau: range of each unit's, (B, H).
    """

    tau: Box

    @abstractmethod
    def least(self, factors: torch.Tensor) -> torch.Tensor:
        """A lower bound of sum_j factor_j tau_j, for factors (B, R, H): (B, R)."""


# ------------------------------------------------------------------------------- Linf and L1 balls


class LengthSlice(Reach):
    """Images that are scaled by a number within a small range.

    With s in [s1, s2], s_m in the middle and v_j = M_j - common,

        tau_j = s_m v_j . x' - s_0 v_j . x + (s - s_m) v_j . x',

    where the last term is at most (s2 - s1) / 2 times the largest |v_j . x'|.

    Args:
        clean: The network at the clean images.
        domain: The images x'.
        drive: Range of v_j . x', (B, H).
        ends: s1 and s2, (B, 1) each.
    """

    def __init__(
        self, clean: Clean, domain: Domain, drive: Box, ends: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        parts = clean.parts
        self.clean = clean
        self.domain = domain
        small, large = ends
        self.middle = (small + large) / 2
        self.slack = (large - small) / 2 * drive.magnitude
        scale = parts.scale(parts.length(clean.images)).unsqueeze(1)
        own = clean.images @ parts.weight.T - (clean.images * clean.common).sum(1, keepdim=True)
        self.start = scale * own
        self.tau = Box(
            torch.minimum(small * drive.low, large * drive.low) - self.start,
            torch.maximum(small * drive.high, large * drive.high) - self.start,
        )

    def least(self, factors: torch.Tensor) -> torch.Tensor:
        """By one linear function of the image."""
        rows = self.middle.unsqueeze(2) * self.clean.combined(factors)
        at_start = (factors * self.start.unsqueeze(1)).sum(2)
        slack = (factors.abs() * self.slack.unsqueeze(1)).sum(2)
        return self.domain.minimum(rows) - at_start - slack


def by_length(clean: Clean, domain: Domain) -> Iterator[LengthSlice]:
    """The domain in slices of the number that an image is multiplied by."""
    drive = domain.range(clean.centred())
    for ends in scale_slices(clean.parts.division, domain):
        yield LengthSlice(clean, domain, drive, ends)


# ---------------------------------------------------------------------------------------- L2 balls


class Cone(Reach):
    """Directions within an angle of the clean image's.

    A unit vector at an angle of at most theta differs from that of x by
    -(1 - cos) x / |x| + sin e with a unit vector e orthogonal to x. So the least product of a with
    the difference is -(1 - cos theta) max(a_par, 0) - sin theta |a_perp|.

    Args:
        clean: The network at the clean images.
        domain: An L2 ball; if it contains a black image, nothing is bounded.
    """

    def __init__(self, clean: Clean, domain: Domain) -> None:
        parts = clean.parts
        self.clean = clean
        length = parts.length(clean.images).unsqueeze(1)
        self.direction = clean.images / length
        self.sine = (domain.eps / length).where(domain.eps < length, torch.nan)
        self.cosine = (1 - self.sine.square()).sqrt()
        # Lengths are not exactly one: each image's is short of it by a share of about 1e-7.
        missing = 1 - length * parts.scale(length)
        nearest = length - domain.eps
        missing = missing.abs() + (1 - nearest * parts.scale(nearest)).abs()
        squares = (
            parts.weight.square().sum(1)
            - 2 * clean.common @ parts.weight.T
            + clean.common.square().sum(1, keepdim=True)
        )
        size = squares.clamp_min(0).sqrt()
        self.slack = missing * size
        along = self.direction @ parts.weight.T
        along = along - (self.direction * clean.common).sum(1, keepdim=True)
        lowest = self._least(along, squares) - self.slack
        highest = -self._least(-along, squares) + self.slack
        self.tau = Box(lowest, highest)

    def _least(self, along: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """For vectors of squared length ``squares``, whose part along x is ``along``."""
        across = ((squares - along.square()).clamp_min(0) + ROUNDED * squares).sqrt()
        return -(1 - self.cosine) * along.clamp_min(0) - self.sine * across

    def least(self, factors: torch.Tensor) -> torch.Tensor:
        """By one vector."""
        vectors = self.clean.combined(factors)
        along = torch.bmm(vectors, self.direction.unsqueeze(2)).squeeze(2)
        slack = (factors.abs() * self.slack.unsqueeze(1)).sum(2)
        return self._least(along, vectors.square().sum(2)) - slack
