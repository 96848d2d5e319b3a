"""Straight-through gradients for networks that round, compare or pick.

``StraightThrough`` is a torch function mode: while it is on, every function of torch that has no
useful gradient is given a surrogate (``straight_through_rules.py`` says which). It also records
what it met, which two trust checks read. This file imports torch.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from harness.attacks.engine.straight_through_call import Call, run_or_follow
from harness.attacks.engine.straight_through_rules import RULES
from harness.learning.surrogate import SurrogateGradient

NEAR = 0.05
"""Share of the units, those nearest to a threshold, by which a jump at the threshold is judged."""

JUMP = 0.25
"""Share of a unit's mean effect that its gate must have near the threshold to count as a jump.

A ReLU written as ``x * (x > 0)`` has 0.03, as it is continuous there; a gate that cuts off values
of ordinary size has 1.
"""


class StraightThrough(TorchFunctionMode):
    """While it is on, functions without a gradient pass one on, and keep their value.

    * Rounding (round, floor, ceil, trunc, casts to integers): the gradient of the identity.
    * Steps (sign, heaviside, comparisons, the picks of topk and argmax): the gradient of a sigmoid
      around the threshold, whose width is a share of the root mean square of the row's distances
      from it. So units that lost a competition feel how near they were to winning it.
    * A softmax so saturated that float32 leaves no gradient: that of the softmax of the row's
      standardised values.

    Comparisons, picks and casts give tensors that cannot carry a gradient. Such a tensor gets a
    *shadow*, a float tensor of the same value that can, until something makes floats of it.

    Attributes:
        seen: names of the functions met, in order.
        effects: name -> (near, mean) pairs: how much gradient came back near the function's jump,
            and on average. Filled by the backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, None] = {}
        self.effects: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def cut(self) -> list[str]:
        """Functions that got no gradient back: without effect, or behind a declared surrogate."""
        return [name for name in self.seen if not self.effects[name]]

    def jumps(self) -> list[str]:
        """Functions that make the logits jump: they got gradient back near their thresholds too."""
        jumping = []
        for name in self.seen:
            near = sum(near for near, _ in self.effects[name])
            mean = sum(mean for _, mean in self.effects[name])
            if near > JUMP * mean:
                jumping.append(name)
        return jumping

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("out") is not None or not args or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        name = getattr(function, "__name__", "").strip("_")
        call = Call(self, name, function, args, kwargs)
        rule = RULES.get(name, run_or_follow)
        return rule(call)

    def surrogate(
        self,
        name: str,
        hard: torch.Tensor,
        soft: torch.Tensor,
        distance: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The value of ``hard`` with the gradient of ``soft``, recorded under ``name``.

        Args:
            name: of the function that is replaced.
            hard: its value.
            soft: the function whose gradient is used.
            distance: of each unit from its threshold; None: every unit counts as near.
        """
        self.seen[name] = None

        def record(gradient: torch.Tensor) -> None:
            size = gradient.abs().flatten()
            mean = float(size.mean())
            if distance is None:
                self.effects[name].append((mean, mean))
                return
            few = max(1, int(NEAR * size.numel()))
            nearest = distance.flatten().topk(few, largest=False).indices
            self.effects[name].append((float(size[nearest].mean()), mean))

        return SurrogateGradient.apply(hard.detach(), soft, record)
