"""Gradients for functions that have none: the backward pass of another function (BPDA: Athalye et al. 2018, section 4.1).

A learner declares one in its network with ``surrogate(hard, soft)``. For networks that declare none, ``StraightThrough``
gives one to every step that is written in torch's own functions. Reached lazily: this file imports torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

NEAR = 0.05
"""Share of the units nearest to a threshold by which it is judged whether anything jumps there."""

SOFT = 0.05
"""Of a row's root mean square: the width of the sigmoid that stands for a step. On MNIST, at Linf 0.05, PGD-40 left of a
k-winners network 58, 55, 57 and 62 % at widths of 0.02, 0.04, 0.1 and 0.5, of a network of signs 44, 39, 43 and 52 %."""

JUMP = 0.25
"""Of the mean effect of a unit's gate: a ReLU written as ``x * (x > 0)`` has 0.03 of it near its threshold, as it is
continuous there; a gate that cuts off at a value of ordinary size has 1."""


def surrogate(hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """The value of ``hard``, to the bit, with the gradient of ``soft``: any two functions of the same input.

    >>> x = torch.tensor([0.3], requires_grad=True)
    >>> surrogate(x.round(), x).backward()
    >>> x.grad
    tensor([1.])
    """
    return _Surrogate.apply(hard.detach(), soft, None)


class _Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hard: torch.Tensor,
        soft: torch.Tensor,
        note: Callable[[torch.Tensor], None] | None,
    ) -> torch.Tensor:
        ctx.note = note
        return hard.to(soft.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        if ctx.note is not None:
            ctx.note(gradient)
        return None, gradient, None


class StraightThrough(TorchFunctionMode):
    """While it is on, what is computed from something that asks for a gradient passes one on, and keeps its value.

    * Rounding (round, floor, ceil, trunc, casts to integers): the identity's gradient.
    * Steps (sign, heaviside, comparisons, the picks of topk and argmax): that of a sigmoid about the threshold, whose width
      is a part of the root mean square of the row's distances from it. So units that lost a competition feel how near
      they were to winning it.
    * A softmax so saturated that float32 leaves no gradient: that of the softmax of the row's standardised values.

    Comparisons, picks and casts give tensors that can carry no gradient. They carry a float tensor of the same value
    that does, their shadow, until something makes floats of them.

    Attributes:
        seen: names of the functions met.
        effects: name -> how much of a gradient came back to it, near its jump and on average; filled by the backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, None] = {}
        self.effects: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def cut(self) -> list[str]:
        """Functions that no gradient came back to: without effect, or behind a surrogate that the network declares."""
        return [name for name in self.seen if not self.effects[name]]

    def jumps(self) -> list[str]:
        """Functions that make the logits jump: a gradient came back to them, and at their thresholds too."""
        return [
            name
            for name in self.seen
            if sum(near for near, _ in self.effects[name])
            > JUMP * sum(mean for _, mean in self.effects[name])
        ]

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "").strip("_")
        if kwargs.get("out") is not None or not args or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        rule = _RULES.get(name)
        if rule is not None:
            return rule(self, name, function, args, kwargs)
        if any(_shadow(value) is not None for value in _flat(args)):
            return _carried(function, name, args, kwargs)
        return function(*args, **kwargs)

    def value(
        self,
        name: str,
        hard: torch.Tensor,
        soft: torch.Tensor,
        distance: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``surrogate(hard, soft)``, noted under ``name``; ``distance``: of each unit from its jump (None: none is far)."""
        self.seen[name] = None

        def note(gradient: torch.Tensor) -> None:
            size = gradient.abs().flatten()
            if distance is None:
                self.effects[name].append((float(size.mean()),) * 2)
                return
            nearest = (
                distance.flatten().topk(max(1, int(NEAR * size.numel())), largest=False).indices
            )
            self.effects[name].append((float(size[nearest].mean()), float(size.mean())))

        return _Surrogate.apply(hard.detach(), soft, note)


def _asks(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _shadow(value: Any) -> torch.Tensor | None:
    return value.__dict__.get("_shadow") if isinstance(value, torch.Tensor) else None


def _flat(args: Iterable[Any]) -> Iterable[Any]:
    for value in args:
        yield from value if isinstance(value, (list, tuple)) else (value,)


def _in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name.endswith("_") and not name.endswith("__")


def _width(distance: torch.Tensor) -> torch.Tensor:
    """Root mean square of each row, (B, ...) to (B, 1, ...): rows are told apart, so that company changes nothing."""
    d = distance.detach()
    axes = tuple(range(1, d.dim()))
    squares = d.square().mean(axes, keepdim=True) if axes else d.square().mean()
    return squares.sqrt().clamp_min(torch.finfo(d.dtype).tiny)


def _line(distance: torch.Tensor) -> torch.Tensor:
    """From 0 to 1, through 1/2 where ``distance`` is 0."""
    return torch.sigmoid(distance / (SOFT * _width(distance)))


def _given(
    mode: StraightThrough,
    function: Any,
    args: Any,
    name: str,
    hard: torch.Tensor,
    soft: torch.Tensor,
    distance: torch.Tensor | None = None,
) -> torch.Tensor:
    """What a function gave, with a gradient: in place where the function worked in place."""
    passed = mode.value(name, hard, soft, distance)
    if _in_place(function):
        return args[0].copy_(passed)
    return passed


def _rounding(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    x = args[0]
    if not _asks(x):
        return function(*args, **kwargs)
    soft = x.clone()
    return _given(mode, function, args, name, function(*args, **kwargs), soft)


def _division(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    whole = name in ("floordiv", "rfloordiv", "floor_divide") or kwargs.get("rounding_mode")
    if not (whole and any(map(_asks, args))):
        return _default(mode, name, function, args, kwargs)
    numerator, denominator = reversed(args) if name == "rfloordiv" else args
    soft = numerator / denominator
    return _given(mode, function, args, "floor division", function(*args, **kwargs), soft)


def _remainder(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """X less a rounded x: with the rounding's surrogate nothing is left of its gradient."""
    if not _asks(args[0]):
        return function(*args, **kwargs)
    soft = 0 * args[0]
    return _given(mode, function, args, name, function(*args, **kwargs), soft)


def _sign(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    x = args[0]
    if not _asks(x):
        return function(*args, **kwargs)
    soft, distance = _line(x), x.detach().abs() / _width(x)
    return _given(
        mode,
        function,
        args,
        name,
        function(*args, **kwargs),
        2 * soft - 1 if name != "heaviside" else soft,
        distance,
    )


def _comparison(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    out = function(*args, **kwargs)
    if isinstance(out, torch.Tensor) and any(map(_asks, args)):
        d = args[0] - args[1]
        soft = _line(d if name in _ABOVE else -d)
        out._shadow = mode.value(
            "comparison", out.to(soft.dtype), soft, d.detach().abs() / _width(d)
        )
        return out
    return _default(mode, name, function, args, kwargs) if isinstance(out, torch.Tensor) else out


def _cast(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    out, x = function(*args, **kwargs), args[0]
    if _asks(x) and isinstance(out, torch.Tensor) and not out.is_floating_point():
        distance = x.detach().abs() / _width(x) if out.dtype == torch.bool else None
        out._shadow = mode.value("cast to integers", out.to(x.dtype), x, distance)
        return out
    return _default(mode, name, function, args, kwargs, out)


def _picks(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """Indices remember what they were picked from."""
    out, x = function(*args, **kwargs), args[0]
    if _asks(x):
        indices = out if isinstance(out, torch.Tensor) else getattr(out, "indices", None)
        if indices is not None:
            indices._picked = (name, x)
    return out


def _picked(mode: StraightThrough, indices: Any, axis: int) -> torch.Tensor | None:
    """The mask of what was picked along an axis, with the gradient of a competition for it; None: not picked by value."""
    name, x = (
        indices.__dict__.get("_picked", (None, None))
        if isinstance(indices, torch.Tensor)
        else (None, None)
    )
    if x is None:
        return None
    index = indices if indices.dim() == x.dim() else indices.unsqueeze(axis)
    mask = torch.zeros_like(x, dtype=torch.bool).scatter(axis, index, True)
    lowest = x.detach().where(mask, float("inf")).amin(axis, keepdim=True)
    best_left = x.detach().where(~mask, float("-inf")).amax(axis, keepdim=True)
    threshold = torch.where(best_left.isfinite(), (lowest + best_left) / 2, lowest)
    d = x - threshold
    return mode.value(name, mask.to(x.dtype), _line(d), d.detach().abs() / _width(d))


def _scatter(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """A mask or values put where something was picked."""
    before = args[0].detach().clone()
    out = function(*args, **kwargs)
    if len(args) != 4 or kwargs:
        return out
    axis, index, source = args[1:]
    gate = _picked(mode, index, axis)
    if gate is None or gate.shape != out.shape:
        return out
    if not out.is_floating_point():
        out._shadow = gate
        return out
    x = index.__dict__["_picked"][1].detach()
    put = x if isinstance(source, torch.Tensor) else source
    effect = (gate - gate.detach()) * (put - before)
    return out.add_(effect) if _in_place(function) else out + effect


def _one_hot(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    out = function(*args, **kwargs)
    gate = _picked(mode, args[0], out.dim() - 1)
    if gate is not None and gate.shape == out.shape:
        out._shadow = gate
    return out


def _choice(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    """where, masked_fill, and assignment to a mask: what it would change if the mask were the other way."""
    at, pair = {
        "where": (0, lambda: args[1:3]),
        "masked_fill": (1, lambda: (args[2], args[0])),
        "setitem": (1, lambda: (args[2], args[0])),
    }[name]
    if len(args) < 3 or _shadow(args[at]) is None:
        return function(*args, **kwargs)
    gate = _shadow(args[at])
    chosen, other = (
        value.detach().clone() if isinstance(value, torch.Tensor) else value for value in pair()
    )
    out = function(*args, **kwargs)
    target = args[0] if name == "setitem" else out
    step = torch.as_tensor(chosen - other, dtype=gate.dtype).nan_to_num(0, 0, 0)
    if step.dim() and name == "setitem" and step.shape != target.shape:
        return out  # values for the chosen places only: which place gets which is not followed
    effect = (gate - gate.detach()) * step
    if name == "setitem" or _in_place(function):
        target.add_(effect)
        return out
    return out + effect


def _softmax(mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any) -> Any:
    out, x = function(*args, **kwargs), args[0]
    axis = kwargs.get("dim", args[1] if len(args) > 1 else -1)
    if not _asks(x) or axis is None:
        return out
    full = out.detach().amax(axis, keepdim=True) == 1
    if not full.any():
        return out
    mode.seen["saturated softmax"] = None
    mode.effects["saturated softmax"].append((0.0, 1.0))  # it is flat, and does not jump
    fixed = x.detach()
    soft = (
        (x - fixed.mean(axis, keepdim=True))
        / fixed.std(axis, correction=0, keepdim=True).clamp_min(1e-30)
    ).softmax(axis)
    return torch.where(full, surrogate(out, soft), out)


def _default(
    mode: StraightThrough, name: str, function: Any, args: Any, kwargs: Any, out: Any = None
) -> Any:
    if any(_shadow(value) is not None for value in _flat(args)):
        return _carried(function, name, args, kwargs)
    return function(*args, **kwargs) if out is None else out


def _carried(function: Any, name: str, args: Any, kwargs: Any) -> Any:
    """A function of something that has a shadow: floats are made from the shadow, the rest keeps one."""
    out = function(*args, **kwargs)
    if name not in _FOLLOWED or not isinstance(out, torch.Tensor):
        return out

    def lit(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(lit, value))
        return value if _shadow(value) is None else _shadow(value)

    with suppress(RuntimeError, TypeError):  # what floats cannot do (shifts, say) casts no shadow
        shadow = (
            _LOGIC[name](*map(lit, args)) if name in _LOGIC else function(*map(lit, args), **kwargs)
        )
        if out.is_floating_point():
            return shadow.to(out.dtype)
        out._shadow = shadow if shadow.is_floating_point() else lit(args[0])
    return out


_ABOVE = ("gt", "ge", "greater", "greater_equal", "eq")
_LOGIC = {
    "invert": lambda a: 1 - a,
    "logical_not": lambda a: 1 - a,
    "bitwise_not": lambda a: 1 - a,
    "and": lambda a, b: a * b,
    "logical_and": lambda a, b: a * b,
    "bitwise_and": lambda a, b: a * b,
    "or": lambda a, b: a + b - a * b,
    "logical_or": lambda a, b: a + b - a * b,
    "bitwise_or": lambda a, b: a + b - a * b,
}
_CASTS = (
    "float",
    "double",
    "half",
    "bfloat16",
    "to",
    "type",
    "type_as",
    "int",
    "long",
    "short",
    "byte",
    "char",
    "bool",
)
_FOLLOWED = {
    *_LOGIC,
    *_CASTS,
    "mul",
    "multiply",
    "rmul",
    "add",
    "radd",
    "sub",
    "subtract",
    "rsub",
    "neg",
    "div",
    "true_divide",
    "rdiv",
    "truediv",
    "rtruediv",
    "divide",
    "sum",
    "mean",
    "matmul",
    "rmatmul",
    "linear",
    "cat",
    "stack",
    "view",
    "reshape",
    "flatten",
    "unsqueeze",
    "squeeze",
    "permute",
    "transpose",
    "expand",
    "expand_as",
    "getitem",
    "clone",
    "contiguous",
}
_RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("round", "floor", "ceil", "trunc", "fix"), _rounding),
    **dict.fromkeys(
        ("floordiv", "rfloordiv", "floor_divide", "div", "divide", "true_divide"), _division
    ),
    **dict.fromkeys(("remainder", "fmod", "frac", "mod"), _remainder),
    **dict.fromkeys(("sign", "sgn", "heaviside"), _sign),
    **dict.fromkeys((*_ABOVE, "lt", "le", "less", "less_equal", "ne", "not_equal"), _comparison),
    **dict.fromkeys(_CASTS, _cast),
    **dict.fromkeys(("topk", "argmax", "argmin", "max", "sort", "argsort"), _picks),
    **dict.fromkeys(("scatter",), _scatter),
    "one_hot": _one_hot,
    **dict.fromkeys(("where", "masked_fill", "setitem"), _choice),
    "softmax": _softmax,
}
