"""Spikes with the slope of a smooth step in the backward pass, which an attack may exchange."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

from harness.lazy import torch

Surrogate = Literal["fast-sigmoid", "sigmoid", "arctan", "rectangle"]


@dataclass(frozen=True)
class Slope:
    """Slope of the backward pass.

    Attributes:
        kind: Of the smooth step; None: the network's own, with its steepness.
        steepness: k.
        reset: Whether gradients pass through the reset after a spike, too.
    """

    kind: Surrogate | None = None
    steepness: float = 1.0
    reset: bool = False

    @classmethod
    def parse(cls, text: str) -> Slope:
        """The slope that a word names.

        >>> Slope.parse("sigmoid-5")
        Slope(kind='sigmoid', steepness=5.0, reset=False)
        >>> Slope.parse("reset")
        Slope(kind=None, steepness=1.0, reset=True)

        Raises:
            ValueError: It is not ``own``, ``reset``, or a kind and a steepness above zero.
        """
        if text in ("own", "reset"):
            return cls(reset=text == "reset")
        name, _, number = text.rpartition("-")
        for kind in get_args(Surrogate):
            if name == kind and number.replace(".", "", 1).isdigit() and float(number) > 0:
                return cls(kind, float(number))
        kinds = ", ".join(f"{kind}-K" for kind in get_args(Surrogate))
        raise ValueError(f"{text!r} is no slope: own, reset, {kinds} with a steepness K")


OWN = Slope()
_SEEN_THROUGH: ContextVar[Slope] = ContextVar("slope", default=OWN)


@contextmanager
def through(slope: Slope) -> Iterator[None]:
    """Let every spike pass gradients through ``slope``; no value of a forward pass changes."""
    before = _SEEN_THROUGH.set(slope)
    try:
        yield
    finally:
        _SEEN_THROUGH.reset(before)


def spikes(u: torch.Tensor, kind: Surrogate, k: float) -> torch.Tensor:
    """1 where u, the distance from the threshold, is above zero, with a surrogate slope."""
    from harness.learning.surrogate import surrogate

    seen = _SEEN_THROUGH.get()
    if seen.kind is not None:
        kind, k = seen.kind, seen.steepness
    return surrogate((u > 0).to(u.dtype), smooth_step(u, kind, k))


def reset_by(z: torch.Tensor) -> torch.Tensor:
    """The spikes that a potential is reset by, from which no gradient comes, usually."""
    return z if _SEEN_THROUGH.get().reset else z.detach()


def smooth_step(u: torch.Tensor, kind: Surrogate, k: float) -> torch.Tensor:
    """A function whose derivative is the surrogate slope at u, the distance from the threshold."""
    if kind == "fast-sigmoid":
        return u / (1 + k * u.abs())
    if kind == "sigmoid":
        return torch.sigmoid(k * u)
    if kind == "arctan":
        return torch.atan(math.pi * k * u / 2) / math.pi
    return (k * u / 2).clamp(-0.5, 0.5)
