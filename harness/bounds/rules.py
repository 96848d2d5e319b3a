"""Which operation each function of ATen becomes. This file imports torch.

A rule takes the recorder and the arguments of one call, and returns what the call's value is: a
``Unit`` (a step of the graph), or something that becomes a step together with later calls (a
``Length``, a ``Square``). The table ``RULES`` names the rule of every function; add a line there to
support another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from harness.bounds import arithmetic
from harness.bounds.affine import Convolution, Matrix
from harness.bounds.arithmetic import combined, scaled
from harness.bounds.graph import NoBound, Op
from harness.bounds.recorder import Length, Recorder, Rule, Unit, unit
from harness.bounds.relaxed import MaxPool, Relu, Squashed
from harness.bounds.shaped import Extreme, LogSoftmax, Softmax


def rule_name(target: Any) -> str:
    """Name of a function of ATen, without its overload."""
    packet = getattr(target, "overloadpacket", target)
    return str(getattr(packet, "__name__", packet)).removeprefix("_")


# ------------------------------------------------------------------------------------------ layers


def matrix(recorder: Recorder, x: Any, weight: Any) -> Unit:
    """X W."""
    if not isinstance(weight, torch.Tensor):
        raise NoBound("a product of two values has no bound")
    if len(recorder.shape(unit(x))) != 1:
        raise NoBound("the axis of the batch is mixed with others")
    return recorder.add(Matrix(weight.double()), x, shape=weight.shape[1:])


def matrix_and_bias(
    recorder: Recorder, bias: Any, x: Any, weight: Any, *, beta: float = 1, alpha: float = 1
) -> Unit:
    """Beta b + alpha x W."""
    out = matrix(recorder, x, weight if alpha == 1 else alpha * weight)
    return combined(recorder, out, bias, 1.0, float(beta))


def convolution(
    recorder: Recorder,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Unit:
    """A two-dimensional convolution."""
    if transposed or not isinstance(weight, torch.Tensor) or weight.ndim != 4:
        raise NoBound("only two-dimensional convolutions with fixed filters have a bound")
    shape = recorder.shape(unit(x))
    op = Convolution(
        weight.double().contiguous(),
        shape,
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
    )
    after = op.linear(torch.zeros(1, *shape, dtype=torch.float64, device=weight.device)).shape[1:]
    out = recorder.add(op, x, shape=after)
    return out if bias is None else scaled(recorder, out, 1.0, bias[:, None, None])


def batch_norm(
    recorder: Recorder, x: Any, weight: Any, bias: Any, average: Any, variance: Any, *rest: Any
) -> Unit:
    """Normalisation by running statistics."""
    *training, _momentum, epsilon = [value for value in rest if not isinstance(value, torch.Tensor)]
    if any(value is True for value in training[:1]) or average is None:
        raise NoBound("normalisation by the batch has no bound")
    factor = torch.rsqrt(variance.double() + epsilon)
    if weight is not None:
        factor = factor * weight.double()
    axes = (slice(None),) + (None,) * (len(recorder.shape(unit(x))) - 1)
    shift = -average.double() * factor
    # Whichever way the library folds it, a few roundings of |z a|, |m a| and |b|. The bias is
    # added apart, as it may cancel the shift, but not its rounding.
    out = scaled(recorder, x, factor[axes], shift[axes], roundings=8)
    return out if bias is None else scaled(recorder, out, 1.0, bias[axes], roundings=8)


def relu(recorder: Recorder, x: Any) -> Unit:
    """The larger of x and 0."""
    return recorder.add(Relu(), unit(x))


def leaky_relu(recorder: Recorder, x: Any, slope: float = 0.01) -> Unit:
    """The larger of x and slope * x."""
    if not 0 <= slope <= 1:
        raise NoBound(f"a leaky ReLU of slope {slope:g} has no bound")
    return recorder.add(Relu(float(slope)), unit(x))


def tanh(recorder: Recorder, x: Any) -> Unit:
    """The hyperbolic tangent."""
    return recorder.add(Squashed("tanh"), unit(x))


def sigmoid(recorder: Recorder, x: Any) -> Unit:
    """The logistic function."""
    return recorder.add(Squashed("sigmoid"), unit(x))


def max_pool(
    recorder: Recorder,
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Unit:
    """Largest value of each window."""
    if ceil_mode or set(dilation) != {1}:
        raise NoBound("max pooling with dilation or rounding up has no bound")
    kernel = _pair(kernel)
    op = MaxPool.of(recorder.shape(unit(x)), kernel, _pair(stride or kernel), _pair(padding))
    return recorder.add(op, x, shape=op.after)


def _pair(value: Sequence[int]) -> tuple[int, int]:
    return (value[0], value[-1])


# ----------------------------------------------------------------- normalised images and distances


def length(
    recorder: Recorder, x: Any, order: float = 2, axes: Any = None, *_: Any, **__: Any
) -> Length:
    """The Euclidean length of a flat image."""
    flat = len(recorder.shape(unit(x))) == 1
    if order != 2 or not flat or axes is None or [recorder.axis(x, each) for each in axes] != [1]:
        raise NoBound("a norm other than the Euclidean length of an image has no bound")
    return Length(unit(x))


def floor(recorder: Recorder, x: Any, least: float) -> Any:
    """A length that is at least a small number; of units at least zero, a ReLU."""
    if isinstance(x, Length) and not x.added:
        return replace(x, floor=max(x.floor, float(least)))
    if isinstance(x, Unit) and least == 0:
        return relu(recorder, x)
    raise NoBound("clamping has no bound")


def clamp(recorder: Recorder, x: Any, least: Any = None, most: Any = None) -> Any:
    """Clipping the image to a range that all images are in; from below only, see ``floor``."""
    if x == recorder.image and (least is None or least <= 0) and (most is None or most >= 1):
        return x
    if most is None and least is not None:
        return floor(recorder, x, least)
    raise NoBound("clamping has no bound")


def softmax(op: Op) -> Rule:
    """A softmax over all units, or its logarithm."""

    def rule(recorder: Recorder, x: Any, axis: int, *_: Any) -> Unit:
        if len(recorder.shape(unit(x))) != 1:
            raise NoBound("a softmax over a part of the units has no bound")
        recorder.axis(x, axis)
        return recorder.add(op, x)

    return rule


def extreme(largest: bool) -> Rule:
    """Largest or smallest value along the last of two axes."""

    def rule(recorder: Recorder, x: Any, axes: Any, keepdim: bool = False) -> Unit:
        shape = recorder.shape(unit(x))
        places = [recorder.axis(x, each) for each in (axes if isinstance(axes, list) else [axes])]
        if places != [2] or len(shape) != 2 or keepdim:
            raise NoBound("a maximum other than that of each class has no bound")
        return recorder.add(Extreme(largest), x, shape=shape[:1])

    return rule


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("clone", "alias", "detach", "contiguous", "to_copy", "lift_fresh_copy"), arithmetic.same
    ),
    **dict.fromkeys(("view", "unsafe_view", "reshape"), arithmetic.reshape),
    "expand": arithmetic.expand,
    "unsqueeze": arithmetic.unsqueeze,
    "permute": arithmetic.permute,
    "squeeze": arithmetic.view_as(torch.squeeze),
    "select": arithmetic.view_as(torch.select),
    "slice": arithmetic.slice_of,
    "transpose": arithmetic.view_as(torch.transpose, axes=2),
    "sum": arithmetic.total,
    "mean": arithmetic.mean,
    "avg_pool2d": arithmetic.average_pool,
    "adaptive_avg_pool2d": arithmetic.adaptive_average_pool,
    "constant_pad_nd": arithmetic.pad,
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "rsub": arithmetic.subtract_from,
    "neg": arithmetic.negate,
    "mul": arithmetic.multiply,
    "div": arithmetic.divide,
    "reciprocal": arithmetic.reciprocal,
    "pow": arithmetic.power,
    "mm": matrix,
    "addmm": matrix_and_bias,
    "convolution": convolution,
    "native_batch_norm": batch_norm,
    "native_batch_norm_legit_no_training": batch_norm,
    "cudnn_batch_norm": batch_norm,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "max_pool2d_with_indices": max_pool,
    "linalg_vector_norm": length,
    "clamp": clamp,
    "clamp_min": floor,
    "softmax": softmax(Softmax()),
    "log_softmax": softmax(LogSoftmax()),
    **dict.fromkeys(("amax", "max"), extreme(True)),
    **dict.fromkeys(("amin", "min"), extreme(False)),
}
"""Function of ATen, without a leading underscore -> its rule."""
