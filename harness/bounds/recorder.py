"""What a recorded call gives, and the steps collected so far. This file imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.bounds.graph import NoBound, Op, Step


class Value:
    """What a recorded call gives that depends on the images."""


@dataclass(frozen=True)
class Unit(Value):
    """The value of a step; its first axis is the batch."""

    place: int


@dataclass(frozen=True)
class Length(Value):
    """The length of another value, perhaps made positive."""

    of: Unit
    added: float = 0.0
    floor: float = 0.0


@dataclass(frozen=True)
class Square(Value):
    """The squares of another value."""

    of: Unit


@dataclass(frozen=True)
class Reciprocal(Value):
    """A constant divided by another value."""

    of: Unit
    dividend: Any


class Recorder:
    """Collects the steps of a graph.

    Args:
        batch: Images of the recorded run.
        shape: Of one image.
    """

    def __init__(self, batch: int, shape: tuple[int, ...]) -> None:
        self.batch = batch
        self.steps = [Step(None, (), shape)]
        self.image = Unit(0)

    def shape(self, unit: Unit) -> tuple[int, ...]:
        """Shape of one image's value."""
        return self.steps[unit.place].shape

    def add(self, op: Op, *inputs: Unit, shape: Sequence[int] | None = None) -> Unit:
        """Append a step; ``shape`` if it is not that of the first input."""
        after = self.shape(inputs[0]) if shape is None else tuple(shape)
        self.steps.append(Step(op, tuple(unit.place for unit in inputs), after))
        return Unit(len(self.steps) - 1)

    def item(self, value: Any, index: int) -> Any:
        """The value itself for item 0, of a function whose other results are not used."""
        return Unused() if index else value

    def finished(self, out: Any) -> int:
        """The place of the logits.

        Raises:
            NoBound: The network gives something else.
        """
        if not isinstance(out, Unit) or len(self.shape(out)) != 1:
            raise NoBound("it does not give logits (B, classes)")
        return out.place

    def axis(self, unit: Unit, axis: int) -> int:
        """An axis of the batch's value, counted from 0; not that of the batch.

        Raises:
            NoBound: It is that of the batch.
        """
        ndim = len(self.shape(unit)) + 1
        place = axis % ndim
        if place == 0:
            raise NoBound("images of a batch influence each other")
        return place


class Unused(Value):
    """Indices of a maximum and the like: a rule that gets them raises."""


Rule = Callable[..., Any]
"""A function of the recorder and of a call's arguments, to what the call gives."""


def unit(value: Any) -> Unit:
    """A value that is a step.

    Raises:
        NoBound: It is something else, which has no bound here.
    """
    if not isinstance(value, Unit):
        kind = "a maximum's index" if isinstance(value, Unused) else type(value).__name__.lower()
        raise NoBound(f"{kind} of units is used in a way that has no bound")
    return value
