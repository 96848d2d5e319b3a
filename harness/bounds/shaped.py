"""Operations that are bounded only as parts of a whole: a normalised image, a softmax, distances.

This file imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from harness.bounds.box import Box
from harness.bounds.graph import NoBound, Op


class Part(Op):
    """An operation whose bound needs to know what comes before and after it.

    On its own it has none: ``interval``, ``backward`` and ``error`` raise ``NoBound``.

    Attributes:
        whole: what it is bounded as a part of.
    """

    whole: ClassVar[str] = "a competitive code"

    def _alone(self) -> NoBound:
        return NoBound(f"{self} is only bounded as part of {self.whole}")

    def interval(self, *inputs: Box) -> Box:
        """None."""
        raise self._alone()

    def backward(
        self, rows: torch.Tensor, *inputs: Box
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """None."""
        raise self._alone()

    def error(self, errors: Sequence[torch.Tensor], inputs: Sequence[Box]) -> torch.Tensor:
        """None."""
        raise self._alone()


@dataclass(frozen=True)
class Normalised(Part):
    """x / (|x| + added), or x / max(|x|, floor)."""

    added: float = 0.0
    floor: float = 0.0

    def scale(self, length: torch.Tensor) -> torch.Tensor:
        """What an image of some length is multiplied by."""
        return 1 / (length + self.added).clamp_min(self.floor)

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The image, almost at length one."""
        flat = inputs[0]
        return flat * self.scale(torch.linalg.vector_norm(flat, dim=1, keepdim=True))

    def __str__(self) -> str:
        return "division by the length of the values"


class Softmax(Part):
    """Softmax over the units of a layer."""

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The softmax."""
        return torch.softmax(inputs[0], 1)

    def __str__(self) -> str:
        return "softmax"


class LogSoftmax(Part):
    """Logarithm of a softmax over all outputs."""

    whole = "a network's outputs"

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The logarithm of the softmax."""
        return torch.log_softmax(inputs[0], 1)

    def __str__(self) -> str:
        return "log-softmax"


@dataclass(frozen=True)
class SquaredDistances(Part):
    """Squared Euclidean distances of an image to prototypes (P, n)."""

    prototypes: torch.Tensor
    whole = "nearest prototypes"

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(B, n) to (B, P)."""
        return (inputs[0].flatten(1).unsqueeze(1) - self.prototypes).square().sum(2)

    def __str__(self) -> str:
        return "squared distances"


@dataclass(frozen=True)
class Extreme(Part):
    """Largest or smallest value along the last axis."""

    largest: bool
    whole = "nearest prototypes"

    def value(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(B, C, P) to (B, C)."""
        return inputs[0].amax(-1) if self.largest else inputs[0].amin(-1)

    def __str__(self) -> str:
        return "maximum" if self.largest else "minimum"
