"""A division of units by others that are positive, between two linear functions.

With s = 1 / g, the product n s is between planes in n and s (McCormick 1976, "Computability of
global solutions to factorable nonconvex programs", Mathematical Programming 10), and s between a
tangent and a chord of 1 / g. This file imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.bounds.box import Box
from harness.bounds.graph import Op
from harness.bounds.rounding import gamma

Plane = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Slopes in the dividend and in the divisor, and the value at zero."""


class Quotient(Op):
    """n / g, unit by unit, for g > 0; infinite bounds where g may be anything else."""

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The quotient."""
        return inputs[0] / inputs[1]

    def interval(self, *inputs: Box) -> Box:
        """Extremes are at corners."""
        dividend, divisor = inputs
        corners = torch.stack([n / g for n in _ends(dividend) for g in _ends(divisor)])
        positive = divisor.low > 0
        low = corners.amin(0).where(positive, -torch.inf)
        return Box(low, corners.amax(0).where(positive, torch.inf))

    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Where A > 0 the plane below, elsewhere the plane above."""
        below = _plane_below(*inputs)
        # -(n / g) = (-n) / g
        mirrored = _plane_below(Box(-inputs[0].high, -inputs[0].low), inputs[1])
        above = mirrored[0], -mirrored[1], -mirrored[2]
        in_dividend, in_divisor, at_zero = (
            torch.where(rows > 0, low.unsqueeze(1), high.unsqueeze(1))
            for low, high in zip(below, above, strict=True)
        )
        return (rows * in_dividend, rows * in_divisor), (rows * at_zero).flatten(2).sum(2)

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """Those of both, and three roundings: of a factor, of the division and of a product."""
        dividend, divisor = inputs
        least = divisor.low - errors[1]
        largest = dividend.magnitude + errors[0]
        passed = (errors[0] + dividend.magnitude * errors[1] / divisor.low) / least
        return torch.where(least > 0, passed + gamma(3) * largest / least, torch.inf)


def _ends(box: Box) -> tuple[torch.Tensor, torch.Tensor]:
    return box.low, box.high


def _plane_below(dividend: Box, divisor: Box) -> Plane:
    """The higher of two planes below n / g in the middle of the box."""
    smallest, largest = 1 / divisor.high, 1 / divisor.low
    first = _with_factor(dividend.low, smallest, divisor)
    second = _with_factor(dividend.high, largest, divisor)
    first_is_higher = _in_the_middle(first, dividend, divisor) >= _in_the_middle(
        second, dividend, divisor
    )
    positive = divisor.low > 0
    in_dividend, in_divisor, at_zero = (
        torch.where(first_is_higher, a, b) for a, b in zip(first, second, strict=True)
    )
    return (
        in_dividend.where(positive, 0),
        in_divisor.where(positive, 0),
        at_zero.where(positive, -torch.inf),
    )


def _with_factor(end: torch.Tensor, slope: torch.Tensor, divisor: Box) -> Plane:
    """A plane in n and g, end * s + slope * n - end * slope with a line in g for s.

    It is below n s where ``end`` and ``slope`` are both the smallest or both the largest values of
    n and s, since (n - end) (s - slope) >= 0 there.
    """
    middle = divisor.centre
    tangent = -1 / middle.square(), 2 / middle
    chord = -1 / (divisor.low * divisor.high), 1 / divisor.low + 1 / divisor.high
    positive = end > 0
    line_slope = torch.where(positive, tangent[0], chord[0])
    line_at_zero = torch.where(positive, tangent[1], chord[1])
    return slope, end * line_slope, end * line_at_zero - end * slope


def _in_the_middle(plane: Plane, dividend: Box, divisor: Box) -> torch.Tensor:
    return plane[0] * dividend.centre + plane[1] * divisor.centre + plane[2]
