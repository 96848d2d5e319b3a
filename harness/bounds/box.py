"""Intervals: a lower and an upper bound for each value. This file imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Box:
    """A lower and an upper bound for each unit.

    Attributes:
        low: float64 (B, ...).
        high: the same shape, nowhere smaller.
    """

    low: torch.Tensor
    high: torch.Tensor

    @property
    def centre(self) -> torch.Tensor:
        """Middle of each interval."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> torch.Tensor:
        """Half the width of each interval."""
        return (self.high - self.low) / 2

    @property
    def magnitude(self) -> torch.Tensor:
        """Largest absolute value in each interval."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def flatten(self) -> Box:
        """Each image's units in one axis, (B, n)."""
        return Box(self.low.flatten(1), self.high.flatten(1))

    def within(self, other: Box) -> Box:
        """The intersection with bounds of the same values."""
        return Box(torch.maximum(self.low, other.low), torch.minimum(self.high, other.high))

    def minimum(self, rows: torch.Tensor) -> torch.Tensor:
        """Smallest value of linear functions on the box.

        Args:
            rows: A, (B, R, ...) or (1, R, ...) if all images share them.

        Returns:
            min A . z, (B, R).
        """
        flat = rows.flatten(2)
        at_centre = products(flat, self.centre.flatten(1))
        return at_centre - products(flat.abs(), self.radius.flatten(1))


def products(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Row times vector: (B, R, n) or (1, R, n), and (B, n), to (B, R)."""
    if len(rows) == 1:
        return values @ rows[0].T
    return torch.bmm(rows, values.unsqueeze(2)).squeeze(2)
