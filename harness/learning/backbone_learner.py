"""Learners that train a backbone as torch modules: their keys, state, and training on episodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.fitting import EpisodeShape, TensorLearner
from harness.learning.learner import Progress, Synapses, TrainingLog
from harness.registry import Config

if TYPE_CHECKING:  # ``bodies`` imports torch
    from harness.learning.bodies import Conv4, Dense

LOG_ROWS = 20
"""Rows in the log of a training on episodes."""


class BackboneConfig(Config):
    """Keys of every learner that trains a backbone."""

    backbone: Literal["conv4", "mlp"] = Field(
        "conv4", description="four convolution blocks, or two ReLU layers"
    )
    width: int = Field(64, ge=1, description="filters per block, or units per layer")


class EpisodeConfig(BackboneConfig):
    """Keys of every learner that trains on episodes."""

    train_ways: int = Field(
        20, ge=2, description="classes in a training episode, or all if there are fewer"
    )
    train_shots: int = Field(1, ge=1, description="support images per class in a training episode")


class BackboneLearner(TensorLearner):
    """A learner that trains the modules in ``self.parts``; ``self.tensors`` shares their memory.

    A subclass defines the ``untrained`` parts and, if its state has more, ``extra_tensors``.
    """

    config: BackboneConfig
    parts: nn.ModuleDict

    @abstractmethod
    def untrained(self) -> nn.ModuleDict:
        """All that training changes, by name, on the CPU."""

    @property
    @abstractmethod
    def trained_body(self) -> Conv4 | Dense:
        """The backbone in ``self.parts``."""

    def _share(self, **extra: torch.Tensor) -> None:
        """Let ``self.tensors`` share the parts' tensors, and hold ``extra`` ones."""
        self.tensors = {**self.parts.state_dict(), **extra}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; the learner then behaves as the one that gave it."""
        super().load_state_dict(state)
        own = list(self.parts.state_dict())
        extra = {name: value for name, value in self.tensors.items() if name not in own}
        self.parts.to(self.device).load_state_dict({name: self.tensors[name] for name in own})
        self._share(**extra)

    def part(self, name: str) -> nn.Module:
        """One of ``self.parts``."""
        return self.parts[name]

    def connectome(self) -> list[Synapses]:
        """One bundle per layer of the backbone.

        A convolution's weights are (inputs of one position, filters), shared by all positions.
        """
        dense = self.config.backbone == "mlp"
        return [
            Synapses(name, weight, presynaptic_sign=dense)
            for name, weight in self.trained_body.connections().items()
        ]

    def log_training(
        self,
        outcomes: Iterable[tuple[float, float]],
        total: int,
        *,
        images: int,
        unit: Literal["episode", "iteration"],
        log: TrainingLog,
        progress: Progress,
    ) -> None:
        """Run a training and log it in ``LOG_ROWS`` rows.

        Args:
            outcomes: Runs one step at a time and yields its loss and accuracy.
            total: Number of steps.
            images: Images in one step.
            unit: What a step is.
            log: The log to fill.
            progress: Called with each row.
        """
        recent: list[tuple[float, float]] = []
        for step, (loss, accuracy) in enumerate(outcomes, start=1):
            recent.append((float(loss), float(accuracy)))
            log.images_seen += images
            log.step(self)
            if step * LOG_ROWS // total > (step - 1) * LOG_ROWS // total:
                mean_loss, mean_accuracy = np.mean(recent, axis=0)
                row = {f"{unit}s": step, "loss": mean_loss, "train_accuracy": mean_accuracy}
                log.add(self, **row)
                note = f"{unit} {step}: train accuracy {mean_accuracy:.3f}"
                progress(step / total, note)
                recent = []


def steps_within(budgeted: int, images: int) -> int:
    """Steps of ``images`` images each that a budget allows; at least one.

    >>> steps_within(100, 40), steps_within(10, 40)
    (2, 1)
    """
    return max(1, budgeted // images)


def requested_shape(config: EpisodeConfig, queries: int) -> EpisodeShape:
    """The size of training episodes that a config asks for."""
    return EpisodeShape(config.train_ways, config.train_shots, queries)
