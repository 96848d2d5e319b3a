"""Robust accuracy over a stream: one attack on the network of each moment, on the tasks so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from harness.attacks.engine.sweep import sweep
from harness.attacks.pgd import PGD
from harness.budgets import Budget
from harness.data.base import Images
from harness.data.streams import Stream
from harness.lazy import nn, torch
from harness.registry import Config

if TYPE_CHECKING:
    from harness.protocols.base import Context

BROKEN = 0
"""Verdict on images that the attack broke, and on those of tasks to come."""


class RobustConfig(Config):
    """Keys of the attack on the network after each task: PGD on the margin, one restart."""

    norm: Literal["linf", "l2"] = Field("linf", description="linf or l2")
    eps: Annotated[Budget, Field(gt=0)] = Field(0.1, description="budget, in pixel units")
    steps: int = Field(20, ge=1, le=10_000, description="gradient steps")
    images: int = Field(60, ge=1, description="test images of each task that are attacked")


class Robust(NamedTuple):
    """The attack of a setting; see ``RobustConfig``."""

    norm: str
    eps: float
    steps: int
    images: int


@dataclass(frozen=True)
class StreamAttack:
    """Attacks the first test images of each task.

    Attributes:
        robust: The attack's keys.
        stream: The stream.
        test: The split that is tested on.
        is_told: Whether the task is told at test time; the attack then knows it too.
        context: Of the cell.
    """

    robust: Robust
    stream: Stream
    test: Images
    is_told: bool
    context: Context

    def tasks(self) -> np.ndarray:
        """The task of each attacked image, int64."""
        sizes = [len(self._images(number)) for number in range(len(self.stream))]
        return np.repeat(np.arange(len(sizes)), sizes)

    def verdicts(self, model: nn.Module, so_far: int) -> np.ndarray:
        """Which images withstand the attack, uint8; those of tasks to come count as broken.

        Args:
            model: Images to logits of all output units.
            so_far: Number of tasks that were learned.
        """
        verdicts = np.full(len(self.tasks()), BROKEN, np.uint8)
        first = 0
        for number in range(so_far):
            images = self._images(number)
            verdicts[first : first + len(images)] = self._withstood(model, images, number)
            first += len(images)
        return verdicts

    def _images(self, number: int) -> Images:
        """Images of a task, spread over the split."""
        images = self.stream.part(self.test, number)
        count = min(self.robust.images, len(images))
        return images.take(np.linspace(0, len(images) - 1, count).astype(np.int64))

    def _withstood(self, model: nn.Module, images: Images, number: int) -> np.ndarray:
        labels = images.known_labels
        if self.is_told:
            own = list(self.stream.tasks[number].outputs)
            model = among(model, own)
            labels = np.searchsorted(np.sort(own), labels)
        attack = PGD.of(norm=self.robust.norm, eps=[self.robust.eps], steps=self.robust.steps)
        result = sweep(
            model,
            images.tensor(self.context.device),
            torch.from_numpy(labels).to(self.context.device),
            images.index,
            attack,
            self.context.rng.child("stream attack"),
            batch_size=self.context.batch_size,
        )
        withstood: np.ndarray = result.worst[0]
        return withstood


def among(model: nn.Module, outputs: list[int]) -> nn.Module:
    """A module that answers among some output units, in ascending order."""

    class Among(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(images)
            return logits[:, sorted(outputs)]

    return Among().eval()
