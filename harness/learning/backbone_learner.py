"""Learners that train a backbone as torch modules: their keys, state, and training on episodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, Self

import numpy as np
from pydantic import AliasChoices, ConfigDict, Field, field_serializer, model_validator

from harness.lazy import nn, torch
from harness.learning.body import OLDER_KEY, ChosenBody, seeded
from harness.learning.fitting import EpisodeShape, TensorLearner
from harness.learning.learner import Progress, Synapses, TrainingLog
from harness.registry import Config

LOG_ROWS = 20
"""Rows in the log of a training on episodes."""


BODY = "network that makes the features (`harness list bodies`), or package.module:name"

WIDTH = 64
"""Width of a ``conv4`` or ``mlp``, if not given."""

HAVE_WIDTH = ("conv4", "mlp")
"""Bodies whose width is a key of the learner."""


def _with_older_key(schema: dict[str, Any]) -> None:
    """Let editors accept the older name of ``body``."""
    older = {**schema["properties"]["body"], "description": "older name of `body`"}
    schema["properties"][OLDER_KEY] = {**older, "deprecated": True}


def body_field(default: str) -> Any:
    """The key ``body``, with its default."""
    return Field(
        ChosenBody(default),
        validation_alias=AliasChoices("body", OLDER_KEY),
        serialization_alias=OLDER_KEY,
        description=BODY,
        json_schema_extra={"default": default},
    )


class BackboneConfig(Config):
    """Keys of every learner that trains a body."""

    # Identities of cells have the older name.
    model_config = ConfigDict(json_schema_extra=_with_older_key, serialize_by_alias=True)

    body: ChosenBody = body_field("conv4")
    width: int = Field(
        WIDTH, ge=1, description="filters per block of conv4, or units per layer of mlp"
    )

    @field_serializer("body", when_used="json")
    def _as_before(self, body: ChosenBody) -> str | dict[str, Any]:
        """A body that has its width from the learner is a plain name."""
        return body.name if body.is_bare and body.name in HAVE_WIDTH else body.to_json()

    @model_validator(mode="after")
    def _width_is_used(self) -> Self:
        if self.width != WIDTH and not (self.body.is_bare and self.body.name in HAVE_WIDTH):
            raise ValueError(
                "`width` beside `body` is that of a plain conv4 or mlp; other bodies have keys of "
                "their own: body: {name: ..., key: value}"
            )
        return self

    def new_body(
        self, image_shape: tuple[int, int, int], generator: torch.Generator, **of_conv4: int
    ) -> nn.Module:
        """An untrained body.

        Args:
            image_shape: (C, H, W).
            generator: Draws the initial weights.
            of_conv4: Keys of a ``conv4`` that the suite gives no keys.
        """
        keys: dict[str, int] = {}
        if self.body.is_bare and self.body.name in HAVE_WIDTH:
            keys["width"] = self.width
        if self.body.name == "conv4":
            keys |= of_conv4
        return self.body.over(keys).untrained(image_shape, generator)


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
    def trained_body(self) -> nn.Module:
        """The body in ``self.parts``."""

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

    def body_draws(self, step: int) -> AbstractContextManager[None]:
        """A block in which the body may draw, e.g. for dropout, in a step of its training."""
        return seeded(self.rng.child("draws of the body", step).seed, self.device)

    def part(self, name: str) -> nn.Module:
        """One of ``self.parts``."""
        return self.parts[name]

    def connectome(self) -> list[Synapses]:
        """One bundle per layer of the body.

        A convolution's weights are (inputs of one position, filters), shared by all positions.
        """
        from harness.learning.bodies import connections

        return [
            Synapses(name, weight, presynaptic_sign=is_dense)
            for name, (weight, is_dense) in connections(self.trained_body).items()
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
