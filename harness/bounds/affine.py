"""Affine operations: their bounds are exact. This file imports torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input

from harness.bounds.box import Box
from harness.bounds.graph import Op
from harness.bounds.rounding import gamma


class Affine(Op):
    """z -> W z + b of one input.

    Attributes:
        mixes: Whether an output has more than one input. If not, intervals stay exact.
        keeps_order: Whether it only changes the shape.
    """

    mixes = True
    keeps_order = False

    @abstractmethod
    def linear(self, z: torch.Tensor) -> torch.Tensor:
        """W z, for z (B, ...)."""

    @abstractmethod
    def absolute(self, z: torch.Tensor) -> torch.Tensor:
        """|W| z."""

    @abstractmethod
    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """A W, for rows A of the output's shape (R, ...)."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """Roundings in one output."""

    @property
    def offset(self) -> torch.Tensor | None:
        """b, broadcastable to an output; None if it is zero."""
        return None

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """W z + b."""
        out = self.linear(inputs[0])
        return out if self.offset is None else out + self.offset

    def interval(self, *inputs: Box) -> Box:
        """W m + b -+ |W| r of the centre m and the radius r."""
        centre = self.value(inputs[0].centre)
        radius = self.absolute(inputs[0].radius)
        return Box(centre - radius, centre + radius)

    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """A W and A b: exact."""
        through = self.transposed(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        if self.offset is None:
            return (through,), rows.new_zeros(rows.shape[:2])
        return (through,), (rows * self.offset).flatten(2).sum(2)

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """|W| e + gamma (|W| (|z| + e) + |b|)."""
        if not self.terms:
            return self.absolute(errors[0])
        size = self.absolute(inputs[0].magnitude + errors[0])
        if self.offset is not None:
            size = size + self.offset.abs()
        return self.absolute(errors[0]) + gamma(self.terms) * size


@dataclass(frozen=True)
class Matrix(Affine):
    """z W, with W (in, out)."""

    weight: torch.Tensor

    @property
    def terms(self) -> int:
        """One for each input."""
        return len(self.weight)

    def linear(self, z: torch.Tensor) -> torch.Tensor:
        """Z W."""
        return z @ self.weight

    def absolute(self, z: torch.Tensor) -> torch.Tensor:
        """Z |W|."""
        return z @ self.weight.abs()

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """A W^T."""
        return rows @ self.weight.T


@dataclass(frozen=True)
class Convolution(Affine):
    """A two-dimensional convolution without its bias.

    Attributes:
        weight: (out, in / groups, k, k).
        shape: (in, H, W) of an input.
        stride, padding, dilation, groups: as in ``torch.nn.functional.conv2d``.
    """

    weight: torch.Tensor
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def terms(self) -> int:
        """One for each weight of a filter."""
        return self.weight[0].numel()

    def _convolve(self, z: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.conv2d(z, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def linear(self, z: torch.Tensor) -> torch.Tensor:
        """The convolution."""
        return self._convolve(z, self.weight)

    def absolute(self, z: torch.Tensor) -> torch.Tensor:
        """The convolution with |W|."""
        return self._convolve(z, self.weight.abs())

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """The transposed convolution, in the shape of the input."""
        return conv2d_input(
            (len(rows), *self.shape),
            self.weight,
            rows,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


@dataclass(frozen=True)
class Scaled(Affine):
    """Each unit on its own: z * factor + shift, both broadcastable to z's shape.

    Attributes:
        roundings: of one output in float32.
    """

    factor: torch.Tensor
    shift: torch.Tensor
    roundings: int = 1
    mixes = False

    @property
    def terms(self) -> int:
        """As given."""
        return self.roundings

    @property
    def offset(self) -> torch.Tensor | None:
        """The shift."""
        return self.shift if self.shift.any() else None

    def linear(self, z: torch.Tensor) -> torch.Tensor:
        """Z times the factor."""
        return z * self.factor

    def absolute(self, z: torch.Tensor) -> torch.Tensor:
        """Z times the factor's absolute value."""
        return z * self.factor.abs()

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows times the factor."""
        return rows * self.factor


@dataclass(frozen=True)
class Reshaped(Affine):
    """The same values in another shape.

    Attributes:
        before, after: shapes of one image's values.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mixes = False
    keeps_order = True

    @property
    def terms(self) -> int:
        """None: values are copied."""
        return 0

    def linear(self, z: torch.Tensor) -> torch.Tensor:
        """In the new shape."""
        return z.reshape(len(z), *self.after)

    def absolute(self, z: torch.Tensor) -> torch.Tensor:
        """In the new shape."""
        return self.linear(z)

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """In the old shape."""
        return rows.reshape(len(rows), *self.before)


@dataclass(frozen=True)
class Pooled(Affine):
    """Means, sums, copies and selections of values: any linear function without negative weights.

    Attributes:
        function: (B, ...) to (B, ...), linear, with weights >= 0.
        shape: of one image's input.
        roundings: of one output in float32; 0 if values are only copied.
    """

    function: Callable[[torch.Tensor], torch.Tensor]
    shape: tuple[int, ...]
    roundings: int

    @property
    def terms(self) -> int:
        """As given."""
        return self.roundings

    def linear(self, z: torch.Tensor) -> torch.Tensor:
        """The function."""
        return self.function(z)

    def absolute(self, z: torch.Tensor) -> torch.Tensor:
        """The function: its weights are not negative."""
        return self.function(z)

    def transposed(self, rows: torch.Tensor) -> torch.Tensor:
        """The function's transpose, by automatic differentiation."""
        z = rows.new_zeros(len(rows), *self.shape).requires_grad_()
        with torch.enable_grad():
            (through,) = torch.autograd.grad(self.function(z), z, rows)
        return through


@dataclass(frozen=True)
class Sum(Op):
    """s z + t z' of two inputs of one shape, where s and t are numbers."""

    signs: tuple[float, float]

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """S z + t z'."""
        return self.signs[0] * inputs[0] + self.signs[1] * inputs[1]

    def interval(self, *inputs: Box) -> Box:
        """Sums of the bounds; what both inputs share is not seen."""
        centre = self.value(inputs[0].centre, inputs[1].centre)
        radius = abs(self.signs[0]) * inputs[0].radius + abs(self.signs[1]) * inputs[1].radius
        return Box(centre - radius, centre + radius)

    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """The rows, times s and t: exact."""
        return (
            (self.signs[0] * rows, self.signs[1] * rows),
            rows.new_zeros(rows.shape[:2]),
        )

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """Errors add up; the product and the sum are rounded."""
        carried = torch.zeros_like(errors[0])
        size = torch.zeros_like(errors[0])
        for sign, error, box in zip(self.signs, errors, inputs, strict=True):
            carried = carried + abs(sign) * error
            size = size + abs(sign) * (box.magnitude + error)
        return carried + gamma(2) * size


def is_affine(op: Op | None) -> bool:
    """Whether the bounds of an operation are exact: it is affine."""
    return isinstance(op, (Affine, Sum))
