"""Copies, sums and arithmetic of ATen as operations with bounds. This file imports torch.

Each rule takes the recorder and the arguments of one call; ``rules.py`` has the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from harness.bounds.affine import Pooled, Reshaped, Scaled, Sum
from harness.bounds.graph import NoBound
from harness.bounds.quotient import Quotient
from harness.bounds.recorder import Length, Reciprocal, Recorder, Rule, Square, Unit, Value, unit
from harness.bounds.relaxed import Power, Relu
from harness.bounds.shaped import Normalised, SquaredDistances

# --------------------------------------------------------------------------------- copies and sums


def same(recorder: Recorder, x: Any, *_: Any, **keys: Any) -> Any:
    """A copy."""
    if keys.get("dtype") not in (None, torch.float32):
        raise NoBound(f"it computes in {str(keys['dtype']).removeprefix('torch.')}")
    return x


def reshape(recorder: Recorder, x: Any, size: Sequence[int]) -> Unit:
    """Another shape for each image's values."""
    before = recorder.shape(unit(x))
    total = recorder.batch * math.prod(before)
    known = math.prod(n for n in size if n != -1)
    sizes = [total // known if n == -1 else n for n in size]
    if not sizes or sizes[0] != recorder.batch:
        raise NoBound("the axis of the batch is mixed with others")
    return recorder.add(Reshaped(before, tuple(sizes[1:])), x, shape=sizes[1:])


def expand(recorder: Recorder, x: Any, size: Sequence[int]) -> Any:
    """Copies along axes of size one."""
    if isinstance(x, Length):
        return x
    shape = recorder.shape(unit(x))
    if len(size) != len(shape) + 1 or size[0] not in (-1, recorder.batch):
        raise NoBound("the axis of the batch is mixed with others")
    after = [old if new == -1 else new for old, new in zip(shape, size[1:], strict=True)]
    return _expanded(recorder, x, after)


def _expanded(recorder: Recorder, x: Unit, after: Sequence[int]) -> Unit:
    """Copies of x's values so that it has the shape ``after``, which may have more axes."""
    shape = recorder.shape(x)
    after = tuple(after)
    if shape == after:
        return x
    full = (1,) * (len(after) - len(shape)) + shape
    op = Pooled(lambda z: z.reshape(len(z), *full).expand(len(z), *after), shape, 0)
    return recorder.add(op, x, shape=after)


def view_as(function: Callable[..., torch.Tensor], axes: int = 1) -> Rule:
    """A function that only moves or selects values; its first arguments are axes."""

    def rule(recorder: Recorder, x: Any, *args: Any) -> Unit:
        shape = recorder.shape(unit(x))
        for axis in args[:axes]:
            for each in axis if isinstance(axis, (list, tuple)) else [axis]:
                recorder.axis(x, each)
        op = Pooled(lambda z: function(z, *args), shape, 0)
        after = function(torch.zeros(1, *shape), *args).shape[1:]
        return recorder.add(op, x, shape=after)

    return rule


def slice_of(
    recorder: Recorder,
    x: Any,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Unit:
    """Some of the values along an axis; along that of the batch, all."""
    if axis == 0 and not start and (end is None or end >= recorder.batch) and step == 1:
        return unit(x)
    return view_as(torch.ops.aten.slice)(recorder, x, axis, start, end, step)


def unsqueeze(recorder: Recorder, x: Any, axis: int) -> Unit:
    """One more axis, of size one."""
    shape = list(recorder.shape(unit(x)))
    place = axis % (len(shape) + 2)
    if place == 0:
        raise NoBound("the axis of the batch is mixed with others")
    shape.insert(place - 1, 1)
    return reshape(recorder, x, [recorder.batch, *shape])


def permute(recorder: Recorder, x: Any, order: Sequence[int]) -> Unit:
    """Axes in another order."""
    shape = recorder.shape(unit(x))
    if order[0] != 0:
        raise NoBound("the axis of the batch is mixed with others")
    op = Pooled(lambda z: z.permute(*order), shape, 0)
    return recorder.add(op, x, shape=[shape[axis % (len(shape) + 1) - 1] for axis in order[1:]])


def total(recorder: Recorder, x: Any, axes: Any, keepdim: bool = False, **_: Any) -> Unit:
    """A sum over axes; of squares, a distance."""
    if isinstance(x, Square):
        return _distances(recorder, x.of, axes)
    return _reduced(recorder, x, axes, keepdim, torch.sum)


def mean(recorder: Recorder, x: Any, axes: Any, keepdim: bool = False, **_: Any) -> Unit:
    """A mean over axes."""
    return _reduced(recorder, x, axes, keepdim, torch.mean)


def _reduced(
    recorder: Recorder, x: Any, axes: Any, keepdim: bool, function: Callable[..., torch.Tensor]
) -> Unit:
    shape = recorder.shape(unit(x))
    places = [recorder.axis(x, axis) for axis in axes] if axes else list(range(1, len(shape) + 1))
    terms = math.prod(shape[place - 1] for place in places) + 1
    op = Pooled(lambda z: function(z, places, keepdim), shape, terms)
    after = function(torch.zeros(1, *shape), places, keepdim).shape[1:]
    return recorder.add(op, x, shape=after)


def average_pool(recorder: Recorder, x: Any, *args: Any) -> Unit:
    """Means over windows."""
    return _pooled_by(recorder, x, F.avg_pool2d, args, math.prod(args[0]) + 1)


def adaptive_average_pool(recorder: Recorder, x: Any, size: Sequence[int]) -> Unit:
    """Means over as many windows as asked for."""
    shape = recorder.shape(unit(x))
    return _pooled_by(recorder, x, F.adaptive_avg_pool2d, (size,), math.prod(shape[1:]) + 1)


def pad(recorder: Recorder, x: Any, sizes: Sequence[int], value: float = 0) -> Unit:
    """Zeros around a map."""
    if value or len(sizes) > 2 * len(recorder.shape(unit(x))):
        raise NoBound("padding with anything but zeros has no bound")
    return _pooled_by(recorder, x, F.pad, (sizes,), 0)


def _pooled_by(
    recorder: Recorder, x: Any, function: Callable[..., torch.Tensor], args: Any, terms: int
) -> Unit:
    shape = recorder.shape(unit(x))
    op = Pooled(lambda z: function(z, *args), shape, terms)
    return recorder.add(op, x, shape=function(torch.zeros(1, *shape), *args).shape[1:])


# -------------------------------------------------------------------------------------- arithmetic


def add(recorder: Recorder, x: Any, y: Any, *, alpha: float = 1) -> Any:
    """X + alpha y."""
    if isinstance(x, Length) and isinstance(y, (int, float)):
        return replace(x, added=x.added + alpha * y)
    return combined(recorder, x, y, 1.0, float(alpha))


def subtract(recorder: Recorder, x: Any, y: Any, *, alpha: float = 1) -> Unit:
    """X - alpha y."""
    return combined(recorder, x, y, 1.0, -float(alpha))


def subtract_from(recorder: Recorder, x: Any, y: Any, alpha: float = 1) -> Unit:
    """Y - alpha x."""
    return combined(recorder, x, y, -float(alpha), 1.0)


def negate(recorder: Recorder, x: Any) -> Unit:
    """Minus x."""
    return recorder.add(_scaling(recorder, x, -1.0, 0.0, roundings=0), unit(x))


def combined(recorder: Recorder, x: Any, y: Any, s: float, t: float) -> Unit:
    """S x + t y, where one may be a constant."""
    if isinstance(x, Value) and isinstance(y, Value):
        x, y = unit(x), unit(y)
        shape = torch.broadcast_shapes(recorder.shape(x), recorder.shape(y))
        wide = _expanded(recorder, x, shape), _expanded(recorder, y, shape)
        return recorder.add(Sum((s, t)), *wide)
    if isinstance(x, Value):
        return scaled(recorder, x, s, t * _constant(y))
    return scaled(recorder, y, t, s * _constant(x))


def multiply(recorder: Recorder, x: Any, y: Any) -> Any:
    """X times a constant, or times itself."""
    if isinstance(x, Value) and isinstance(y, Value):
        if x == y:
            return Square(unit(x))
        for one, other in ((x, y), (y, x)):
            if isinstance(one, Reciprocal):
                return _quotient(recorder, scaled(recorder, other, one.dividend, 0.0), one.of)
        raise NoBound("a product of two values has no bound")
    if isinstance(x, Value):
        return scaled(recorder, x, _constant(y), 0.0)
    return scaled(recorder, y, _constant(x), 0.0)


def divide(recorder: Recorder, x: Any, y: Any) -> Unit | Reciprocal:
    """X by a constant, by its own length, or by units."""
    if isinstance(y, Length) and y.of == x:
        return recorder.add(Normalised(y.added, y.floor), unit(x))
    if isinstance(y, Value):
        return _quotient(recorder, x, y) if isinstance(x, Value) else Reciprocal(unit(y), x)
    return scaled(recorder, x, 1 / _constant(y), 0.0, roundings=2)


def reciprocal(recorder: Recorder, x: Any) -> Reciprocal:
    """One divided by units."""
    return Reciprocal(unit(x), 1.0)


def _quotient(recorder: Recorder, x: Any, y: Any) -> Unit:
    """Units divided by units."""
    shape = torch.broadcast_shapes(recorder.shape(unit(x)), recorder.shape(unit(y)))
    wide = _expanded(recorder, x, shape), _expanded(recorder, y, shape)
    return recorder.add(Quotient(), *wide)


def power(recorder: Recorder, x: Any, exponent: float) -> Unit | Square:
    """A power of values that are never negative, or the second of any."""
    if isinstance(recorder.steps[unit(x).place].op, Relu) and exponent >= 1:
        return recorder.add(Power(float(exponent)), unit(x))
    if exponent != 2:
        raise NoBound(f"power {exponent:g} has no bound")
    return Square(unit(x))


def _constant(value: Any) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def scaled(recorder: Recorder, x: Any, factor: Any, shift: Any, roundings: int = 2) -> Unit:
    """X * factor + shift, where these may have more values than x."""
    factor, shift = _constant(factor), _constant(shift)
    constants = torch.broadcast_shapes(factor.shape, shift.shape)
    after = torch.broadcast_shapes((recorder.batch, *recorder.shape(unit(x))), constants)[1:]
    wide = _expanded(recorder, x, after)
    return recorder.add(_scaling(recorder, wide, factor, shift, roundings), wide)


def _scaling(recorder: Recorder, x: Any, factor: Any, shift: Any, roundings: int) -> Scaled:
    """The operation; constants get an axis of the batch of size one, which then goes."""
    ndim = len(recorder.shape(unit(x)))

    def one_image(value: Any) -> torch.Tensor:
        constant = _constant(value)
        if constant.ndim > ndim:
            if len(constant) != 1:
                raise NoBound("a constant differs from image to image")
            constant = constant[0]
        return constant

    return Scaled(one_image(factor), one_image(shift), roundings)


# --------------------------------------------------------------------------------------- distances


def _distances(recorder: Recorder, x: Unit, axes: Sequence[int]) -> Unit:
    """Squared distances of the image to prototypes: sums of squares of x - w."""
    step = recorder.steps[x.place]
    op = step.op
    shift = op.shift.reshape(-1, step.shape[-1]) if isinstance(op, Scaled) else None
    last = len(step.shape) == 2 and [recorder.axis(x, axis) for axis in axes] == [2]
    plain = isinstance(op, Scaled) and op.factor.numel() == 1 and bool(op.factor.abs() == 1)
    if shift is None or not (last and plain and _copies_image(recorder, step.inputs[0])):
        raise NoBound("a sum of squares other than distances to an image has no bound")
    assert isinstance(op, Scaled)
    prototypes = (-shift * op.factor).expand(step.shape)
    return recorder.add(SquaredDistances(prototypes), recorder.image, shape=step.shape[:1])


def _copies_image(recorder: Recorder, place: int) -> bool:
    """Whether a value (P, n) is P copies of the flat image."""
    flat_size = math.prod(recorder.steps[0].shape)
    step = recorder.steps[place]
    while place:
        step = recorder.steps[place]
        copies = isinstance(step.op, Reshaped) or (
            isinstance(step.op, Pooled) and step.op.roundings == 0 and step.shape[-1] == flat_size
        )
        if not copies:
            return False
        place = step.inputs[0]
    return True
