"""Which surrogate gradient each function of torch gets. This file imports torch.

A rule takes a ``Call`` of one function and gives what the function gives, with a gradient. The
table ``RULES`` at the end names the rule of every function; add a line there to support another
one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from harness.attacks.engine.straight_through_call import (
    CASTS,
    Call,
    constant,
    follow_shadow,
    has_shadow,
    requires_gradient,
    row_rms,
    run_or_follow,
    set_shadow,
    shadow_of,
    soft_step,
)
from harness.learning.surrogate import surrogate

if TYPE_CHECKING:
    from harness.attacks.engine.straight_through import StraightThrough

Rule = Callable[[Call], Any]

# ----------------------------------------------------------------------------------------- rounding


def round_to_integers(call: Call) -> Any:
    """Pass the gradient straight through."""
    x = call.args[0]
    if not requires_gradient(x):
        return call.run()
    soft = x.clone()  # before the call, which may work in place
    return call.replace(call.run(), soft)


def divide(call: Call) -> Any:
    """Give a division that rounds the gradient of one that does not."""
    rounds = call.name in ("floordiv", "rfloordiv", "floor_divide")
    rounds = rounds or bool(call.kwargs.get("rounding_mode"))
    if not (rounds and any(map(requires_gradient, call.args))):
        return run_or_follow(call)
    numerator, denominator = reversed(call.args) if call.name == "rfloordiv" else call.args
    soft = numerator / denominator
    return call.replace_as("floor division", call.run(), soft)


def take_remainder(call: Call) -> Any:
    """Give a gradient of zero: x minus a rounded x, which passes x's gradient straight through."""
    x = call.args[0]
    if not requires_gradient(x):
        return call.run()
    soft = 0 * x
    return call.replace(call.run(), soft)


def cast(call: Call) -> Any:
    """Give a cast to integers or booleans a shadow with the input's gradient."""
    x = call.args[0]
    out = call.run()
    if requires_gradient(x) and isinstance(out, torch.Tensor) and not out.is_floating_point():
        to_bool = out.dtype == torch.bool
        distance = x.detach().abs() / row_rms(x) if to_bool else None
        set_shadow(out, call.mode.surrogate("cast to integers", out.to(x.dtype), x, distance))
        return out
    return follow_shadow(call) if has_shadow(call.args) else out


# -------------------------------------------------------------------------------------------- steps


def take_sign(call: Call) -> Any:
    """Replace the step at zero by a sigmoid."""
    x = call.args[0]
    if not requires_gradient(x):
        return call.run()
    step = soft_step(x)
    distance = x.detach().abs() / row_rms(x)
    hard = call.run()
    soft = step if call.name == "heaviside" else 2 * step - 1
    return call.replace(hard, soft, distance)


def compare(call: Call) -> Any:
    """Give the result a shadow: a sigmoid of the difference."""
    out = call.run()
    if not isinstance(out, torch.Tensor):
        return out
    if not any(map(requires_gradient, call.args)):
        return run_or_follow(call)
    difference = call.args[0] - call.args[1]
    soft = soft_step(difference if call.name in _RISING else -difference)
    distance = difference.detach().abs() / row_rms(difference)
    set_shadow(out, call.mode.surrogate("comparison", out.to(soft.dtype), soft, distance))
    return out


# -------------------------------------------------------------------------------------------- picks


def pick(call: Call) -> Any:
    """Let indices remember the tensor that they were picked from."""
    x = call.args[0]
    out = call.run()
    if requires_gradient(x):
        indices: Any = out if isinstance(out, torch.Tensor) else getattr(out, "indices", None)
        if indices is not None:
            indices._picked = (call.name, x)
    return out


def picked_from(indices: Any) -> tuple[str, torch.Tensor] | None:
    """The function that picked indices by value, and from which tensor; None if none did."""
    if not isinstance(indices, torch.Tensor):
        return None
    return indices.__dict__.get("_picked")


def pick_mask(mode: StraightThrough, indices: Any, axis: int) -> torch.Tensor | None:
    """The mask of what was picked along an axis, with the gradient of a competition for it.

    The threshold is half way between the smallest value picked and the largest one left.
    """
    source = picked_from(indices)
    if source is None:
        return None
    name, x = source
    index = indices if indices.dim() == x.dim() else indices.unsqueeze(axis)
    mask = torch.zeros_like(x, dtype=torch.bool).scatter(axis, index, True)
    smallest_picked = x.detach().where(mask, float("inf")).amin(axis, keepdim=True)
    largest_left = x.detach().where(~mask, float("-inf")).amax(axis, keepdim=True)
    half_way = (smallest_picked + largest_left) / 2
    threshold = torch.where(largest_left.isfinite(), half_way, smallest_picked)
    distance = x - threshold
    hard = mask.to(x.dtype)
    relative = distance.detach().abs() / row_rms(distance)
    return mode.surrogate(name, hard, soft_step(distance), relative)


def scatter(call: Call) -> Any:
    """Writing a mask or values where something was picked: another pick would write elsewhere."""
    before = call.args[0].detach().clone()
    out = call.run()
    if len(call.args) != 4 or call.kwargs:
        return out
    axis, index, source = call.args[1:]
    gate = pick_mask(call.mode, index, axis)
    if gate is None or gate.shape != out.shape:
        return out
    if not out.is_floating_point():
        set_shadow(out, gate)
        return out
    picked = picked_from(index)
    assert picked is not None  # else there is no gate
    written = picked[1].detach() if isinstance(source, torch.Tensor) else source
    effect = (gate - gate.detach()) * (written - before)
    return out.add_(effect) if call.in_place else out + effect


def one_hot(call: Call) -> Any:
    """Give a one-hot code of picked indices the mask as its shadow."""
    out = call.run()
    gate = pick_mask(call.mode, call.args[0], out.dim() - 1)
    if gate is not None and gate.shape == out.shape:
        set_shadow(out, gate)
    return out


def choose(call: Call) -> Any:
    """where, masked_fill, assignment to a mask: give the effect of the other choice."""
    args = call.args
    at = 0 if call.name == "where" else 1
    gate = shadow_of(args[at]) if len(args) >= 3 else None
    if gate is None:
        return call.run()
    chosen, other = args[1:3] if call.name == "where" else (args[2], args[0])
    chosen = constant(chosen)
    other = constant(other)
    out = call.run()
    target = args[0] if call.name == "setitem" else out
    step = torch.as_tensor(chosen - other, dtype=gate.dtype).nan_to_num(0, 0, 0)
    if step.dim() and call.name == "setitem" and step.shape != target.shape:
        # Values for the chosen places only: which place gets which value is not followed.
        return out
    effect = (gate - gate.detach()) * step
    if call.name == "setitem" or call.in_place:
        target.add_(effect)
        return out
    return out + effect


# ------------------------------------------------------------------------------------------ softmax


def softmax(call: Call) -> Any:
    """Give saturated rows the gradient of the softmax of their standardised values."""
    x = call.args[0]
    out = call.run()
    axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else -1)
    if not requires_gradient(x) or axis is None:
        return out
    saturated = out.detach().amax(axis, keepdim=True) == 1
    if not saturated.any():
        return out
    call.mode.seen["saturated softmax"] = None
    call.mode.effects["saturated softmax"].append((0.0, 1.0))  # it is flat, and does not jump
    fixed = x.detach()
    centred = x - fixed.mean(axis, keepdim=True)
    deviation = fixed.std(axis, correction=0, keepdim=True).clamp_min(1e-30)
    soft = (centred / deviation).softmax(axis)
    return torch.where(saturated, surrogate(out, soft), out)


# ------------------------------------------------------------------------------------------- tables

_RISING = ("gt", "ge", "greater", "greater_equal", "eq")
"""Comparisons that become true as the first argument grows."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(("round", "floor", "ceil", "trunc", "fix"), round_to_integers),
    **dict.fromkeys(
        ("floordiv", "rfloordiv", "floor_divide", "div", "divide", "true_divide"), divide
    ),
    **dict.fromkeys(("remainder", "fmod", "frac", "mod"), take_remainder),
    **dict.fromkeys(CASTS, cast),
    **dict.fromkeys(("sign", "sgn", "heaviside"), take_sign),
    **dict.fromkeys((*_RISING, "lt", "le", "less", "less_equal", "ne", "not_equal"), compare),
    **dict.fromkeys(("topk", "argmax", "argmin", "max", "sort", "argsort"), pick),
    "scatter": scatter,
    "one_hot": one_hot,
    **dict.fromkeys(("where", "masked_fill", "setitem"), choose),
    "softmax": softmax,
}
"""Function -> its rule."""
