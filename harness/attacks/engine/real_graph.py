"""The gradient of what a network really computes, whatever it hides from autograd.

A network can pass the gradient of another function: ``hard.detach() + soft - soft.detach()`` has
the value of ``hard`` and the gradient of ``soft``. Undoing the detach gives the gradient of the
value. This file imports torch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from harness.attacks.engine.straight_through import StraightThrough
from harness.attacks.engine.straight_through_call import has_shadow, requires_gradient
from harness.attacks.engine.victim import Victim


class RealGraph(StraightThrough):
    """Straight-through gradients, on a graph that ``detach``, ``.data`` and ``no_grad`` do not cut.

    What detaching an intermediate value means for training has no bearing on an attack: the value
    depends on the image all the same.

    Attributes:
        undone: names of what would have cut the graph, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.undone: dict[str, None] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Undo a cut; leave everything else to ``StraightThrough``."""
        name = getattr(function, "__name__", "").strip("_")
        if name == "set_grad_enabled" and not args[0]:
            self.undone["no_grad"] = None
            return None
        if _cuts(name, function) and requires_gradient(args[0]):
            self.undone["detach"] = None
            return args[0].view_as(args[0])
        if name == "getitem" and has_shadow(args[1:]):
            return function(*args, **(kwargs or {}))  # which rows were picked is not followed
        return super().__torch_function__(function, types, args, kwargs)


class Softened(StraightThrough):
    """While it is on, functions without a gradient are replaced by what their gradient is of."""

    def surrogate(
        self,
        name: str,
        hard: torch.Tensor,
        soft: torch.Tensor,
        distance: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The soft function itself."""
        return soft


def _cuts(name: str, function: Any) -> bool:
    read_data: Any = torch.Tensor.data
    return name in ("detach", "detach_copy") or function == read_data.__get__


class RealGraphVictim(Victim):
    """A network whose gradient is that of its real graph."""

    def _backward(self) -> AbstractContextManager[Any]:
        return RealGraph()
