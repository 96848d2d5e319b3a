"""Activation functions and max pooling, between two linear functions (CROWN).

Zhang et al. 2018, "Efficient Neural Network Robustness Certification with General Activation
Functions", arXiv 1811.00866. This file imports torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from harness.bounds.box import Box
from harness.bounds.graph import Op
from harness.bounds.rounding import gamma

FUNCTION_ROUNDINGS = 8
"""Roundings that cover an evaluation of tanh, the sigmoid or a power in float32."""

NARROW = 1e-6
"""Width of an interval below which a power is bounded by a constant."""


@dataclass(frozen=True)
class Lines:
    """A line below and a line above a function on an interval, each (B, ...).

    Attributes:
        below, above: slopes.
        below_at, above_at: values at zero.
    """

    below: torch.Tensor
    below_at: torch.Tensor
    above: torch.Tensor
    above_at: torch.Tensor


class Activation(Op):
    """A function of each unit that never falls."""

    @abstractmethod
    def lines(self, box: Box) -> Lines:
        """Lines below and above the function on the box."""

    @abstractmethod
    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The function."""

    def interval(self, *inputs: Box) -> Box:
        """The function at both ends."""
        return Box(self.value(inputs[0].low), self.value(inputs[0].high))

    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Where A > 0 the line below, elsewhere the line above."""
        lines = self.lines(inputs[0])
        positive = rows > 0
        slope = torch.where(positive, lines.below.unsqueeze(1), lines.above.unsqueeze(1))
        at_zero = torch.where(positive, lines.below_at.unsqueeze(1), lines.above_at.unsqueeze(1))
        return (rows * slope,), (rows * at_zero).flatten(2).sum(2)


@dataclass(frozen=True)
class Relu(Activation):
    """max(z, 0), or max(z, slope * z) if it leaks.

    Attributes:
        slope: below zero, in [0, 1].
    """

    slope: float = 0.0

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Larger of z and slope * z."""
        return torch.maximum(inputs[0], self.slope * inputs[0])

    def lines(self, box: Box) -> Lines:
        """Above: the chord. Below: z or slope * z, whichever leaves the smaller triangle."""
        low, high = box.low, box.high
        unstable = self.undecided(box)
        active = torch.where(low >= 0, 1.0, self.slope).to(low.dtype)
        chord = (high - self.slope * low) / (high - low).where(unstable, 1)
        above = torch.where(unstable, chord, active)
        nearest = torch.where(high > -low, 1.0, self.slope).to(low.dtype)
        below = torch.where(unstable, nearest, active)
        above_at = torch.where(unstable, (self.slope - chord) * low, 0)
        return Lines(below, torch.zeros_like(low), above, above_at)

    def undecided(self, box: Box) -> torch.Tensor:
        """Units that can be on and off, and those of which nothing is known (NaN)."""
        return ~((box.low >= 0) | (box.high <= 0))

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """The input's, since the slope is at most one, and that of a product if it leaks."""
        if not self.slope:
            return errors[0]
        return errors[0] + gamma(2) * self.slope * (inputs[0].magnitude + errors[0])


@dataclass(frozen=True)
class Squashed(Activation):
    """tanh or the sigmoid: convex up to zero, concave above it."""

    function: Literal["tanh", "sigmoid"]

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The function."""
        return torch.tanh(inputs[0]) if self.function == "tanh" else torch.sigmoid(inputs[0])

    def _slope(self, z: torch.Tensor) -> torch.Tensor:
        value = self.value(z)
        return 1 - value.square() if self.function == "tanh" else value * (1 - value)

    def lines(self, box: Box) -> Lines:
        """Lines through both ends, with the smaller of the slopes there.

        The slope rises up to zero and falls above it, so between the ends it is nowhere smaller
        than at one of them.
        """
        slope = torch.minimum(self._slope(box.low), self._slope(box.high))
        below_at = self.value(box.low) - slope * box.low
        above_at = self.value(box.high) - slope * box.high
        return Lines(slope, below_at, slope, above_at)

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """The input's, and that of the function, whose values are at most one."""
        return errors[0] + gamma(FUNCTION_ROUNDINGS)


@dataclass(frozen=True)
class Power(Activation):
    """z^n of values that are never negative, n >= 1: convex.

    Attributes:
        exponent: n.
    """

    exponent: float

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """z^n."""
        return inputs[0].clamp_min(0).pow(self.exponent)

    def _slope(self, z: torch.Tensor) -> torch.Tensor:
        return self.exponent * z.pow(self.exponent - 1)

    def lines(self, box: Box) -> Lines:
        """Above: the chord. Below: the tangent in the middle."""
        low = box.low.clamp_min(0)
        high = box.high.clamp_min(0)
        wide = high - low > NARROW
        rise = self.value(high) - self.value(low)
        above = torch.where(wide, rise / (high - low).where(wide, 1), 0)
        above_at = torch.where(wide, self.value(low) - above * low, self.value(high))
        middle = (low + high) / 2
        below = self._slope(middle)
        return Lines(below, self.value(middle) - below * middle, above, above_at)

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """The input's, times the largest slope, and that of the function."""
        largest = inputs[0].magnitude + errors[0]
        rounded = gamma(FUNCTION_ROUNDINGS) * self.value(largest)
        return self._slope(largest) * errors[0] + rounded


@dataclass(frozen=True)
class MaxPool(Op):
    """Largest value of each window of a map.

    Attributes:
        windows: int64 (P, k), places in a flat map (H * W) of each of P windows; -1: outside.
        after: (C, H', W') of an output.
    """

    windows: torch.Tensor
    after: tuple[int, ...]

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
    ) -> MaxPool:
        """Pooling of maps (C, H, W) by windows of one size."""
        channels, height, width = shape
        places = torch.arange(1, height * width + 1, dtype=torch.float64)
        padded = places.view(1, 1, height, width)
        columns = F.unfold(
            padded, tuple(kernel), padding=tuple(padding), stride=tuple(stride)
        )  # padding is 0, which becomes -1
        rows = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
        windows = columns[0].T.long() - 1
        return cls(windows, (channels, rows, len(windows) // rows))

    def _members(self, z: torch.Tensor) -> torch.Tensor:
        """Values of each window: (B, C, H, W) to (B, C, P, k); -inf outside."""
        flat = z.flatten(2)
        members = flat[:, :, self.windows.clamp_min(0).to(z.device)]
        return members.masked_fill((self.windows < 0).to(z.device), -torch.inf)

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Largest of each window."""
        return self._members(inputs[0]).amax(3).view(len(inputs[0]), *self.after)

    def interval(self, *inputs: Box) -> Box:
        """Largest low, largest high."""
        return Box(self.value(inputs[0].low), self.value(inputs[0].high))

    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Below: one member of the window. Above: that member if no other can exceed it.

        Where another can, the bound above is the largest upper bound, a constant.
        """
        box = inputs[0]
        low = self._members(box.low)
        high = self._members(box.high)
        member = (low + high).argmax(3, keepdim=True)
        others = high.scatter(3, member, -torch.inf).amax(3)
        dominates = low.gather(3, member).squeeze(3) >= others
        place = self.windows.to(rows.device).expand_as(low).gather(3, member).squeeze(3)
        flat = rows.flatten(3)  # (B, R, C, P)
        passed = torch.where((flat > 0) | dominates.unsqueeze(1), flat, 0)
        through = rows.new_zeros(*passed.shape[:3], box.low[0, 0].numel())
        through.scatter_add_(3, place.unsqueeze(1).expand_as(passed), passed)
        constant = ((flat - passed) * high.amax(3).unsqueeze(1)).flatten(2).sum(2)
        return (through.unflatten(3, box.low.shape[2:]),), constant

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """Largest of each window."""
        return self.value(errors[0])
