"""A network as a list of operations that have bounds. This file imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from harness.bounds.box import Box


class NoBound(Exception):
    """A network that has no bound; the message names the part that prevents it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Op(ABC):
    """One operation on one or two inputs, each float64 (B, ...)."""

    @abstractmethod
    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """What the network computes."""

    @abstractmethod
    def interval(self, *inputs: Box) -> Box:
        """Bounds of the value from bounds of the inputs (interval bound propagation)."""

    @abstractmethod
    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """A linear lower bound in the inputs, from one in the value.

        Args:
            rows: A, (B, R, ...), or (1, R, ...) if all images share them.
            inputs: Bounds of the inputs.

        Returns:
            A for each input, and c (B, R) such that A z + c, summed over the inputs, is at most the
            ``rows`` times the value.
        """

    @abstractmethod
    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """Largest error of the value in float32, from those of the inputs.

        Args:
            errors: Largest error of each input, (B, ...).
            inputs: Bounds of the exact inputs.
        """

    def undecided(self, box: Box) -> torch.Tensor:
        """Bool (B, ...): inputs for which tighter bounds would change the relaxation."""
        return box.high > box.low

    def __str__(self) -> str:
        return type(self).__name__


@dataclass(frozen=True)
class Step:
    """One operation at its place in the network.

    Attributes:
        op: the operation; None for the input.
        inputs: places of its inputs, all before its own.
        shape: of the value of one image.
    """

    op: Op | None
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A network. The first step is the image, the last one the logits.

    Attributes:
        steps: in order of computation.
        row_norms: (place, norm) -> dual norms of the rows of a step that is affine in the image,
            (units,); filled when they are first needed.
    """

    steps: tuple[Step, ...]
    row_norms: dict[tuple[int, str], torch.Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.steps[-1].shape[0]

    def op(self, place: int) -> Op:
        """The operation at a place that is not the input's."""
        op = self.steps[place].op
        assert op is not None
        return op

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        for step in self.steps:
            for value in vars(step.op).values() if step.op else ():
                if isinstance(value, torch.Tensor) and value.numel() > 1:
                    return value.device
        return torch.device("cpu")

    def values(self, images: torch.Tensor, last: int | None = None) -> list[torch.Tensor]:
        """The value of every step, up to the place ``last``, on float64 images (B, ...)."""
        values = [images]
        for step in self.steps[1:] if last is None else self.steps[1 : last + 1]:
            assert step.op is not None
            values.append(step.op.value(*(values[i] for i in step.inputs)))
        return values

    def flattens(self, place: int) -> bool:
        """Whether a step keeps all values of the one before it, in their order."""
        return bool(getattr(self.steps[place].op, "keeps_order", False))

    def users(self, place: int) -> list[Op]:
        """Operations that read the value at a place."""
        return [step.op for step in self.steps if step.op and place in step.inputs]
