"""The Protocol contract: how a learner is measured."""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from harness.data.base import Dataset, Facts, Loaded
from harness.lazy import nn
from harness.learning.learner import Learner, Progress, in_parts
from harness.paths import relative_to_suite
from harness.protocols.setting import Setting
from harness.records import TrustCheck, Value
from harness.registry import Config, distinct
from harness.rng import Rng
from harness.seeds import Seeds


@dataclass(frozen=True)
class Fault:
    """An impossible combination of keys.

    Attributes:
        path: Where it is, below the protocol's own mapping.
        message: What is wrong.
        hint: What is allowed.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""


NO_TRAIN = "the data have no train split"
CARVE = "put images into train/, or let `carve` draw splits from images without one"
"""What to do about it, as a hint."""


@dataclass(frozen=True)
class TrainingData:
    """What a learner is trained on before it is measured: the ``train`` split of a splitting.

    Attributes:
        splitting: Its name.
        labelled: Whether the learner sees the labels.
    """

    splitting: str
    labelled: bool = True


class Checkpoint(typing.Protocol):
    """Where a long measurement keeps what it has so far.

    An interrupted cell that is run again reads what it saved last, and must then give the same
    bytes as one that ran through.
    """

    def load(self) -> dict[str, np.ndarray]:
        """Read what was saved last; empty if nothing was."""
        ...

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace what was saved before."""
        ...


class NoCheckpoint:
    """Keeps nothing."""

    def load(self) -> dict[str, np.ndarray]:
        """Empty."""
        return {}

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Context:
    """What a measurement may use.

    Attributes:
        rng: of the suite seed, never of the learner, so that all meet the same episodes and noise.
        device: torch device name.
        batch_size: images pushed through a network at once; changes no value.
        progress: to be called now and then.
        files: hash -> path of each file that a setting names by its hash (see ``Protocol.files``).
        checkpoint: where a long measurement saves what it has, to go on after an interruption.
    """

    rng: Rng
    device: str
    batch_size: int
    progress: Progress
    files: Mapping[str, Path] = field(default_factory=dict)
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)

    def part(self, number: int, of: int) -> Context:
        """The context of one of several equal parts of the work, counted from 0."""
        return replace(self, progress=in_parts(self.progress, *[1.0] * of)[number])


@dataclass(frozen=True)
class TrustContext(Context):
    """What trust checks may use.

    Attributes:
        relatives: name -> network of each learner that the protocol's ``relatives`` names, trained.
    """

    relatives: Mapping[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class Relative:
    """A learner that is trained for trust checks only, on the data that a protocol trains on.

    Attributes:
        kind: of the learner.
        keys: of its config; the others keep their defaults.
        images: training images that it sees, repeats counted.
    """

    kind: str
    keys: Mapping[str, Any]
    images: int


@dataclass(frozen=True)
class Measurement:
    """What a protocol measured in one cell.

    Attributes:
        values: the numbers.
        arrays: name -> array: the verdicts that the numbers derive from, and what figures need.
        trust: trust checks made while measuring.
        log: facts that later trust checks read; JSON-able.
        remarks: what readers of the numbers must know, one sentence fragment each; tables print
            them.
        saved: name -> array that is kept for people to look at; no number derives from it.
    """

    values: list[Value]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    trust: list[TrustCheck] = field(default_factory=list)
    log: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    saved: dict[str, np.ndarray] = field(default_factory=dict)


def _in_suite(value: str, info: ValidationInfo) -> str:
    return str(relative_to_suite(value, info))


SuiteFile = Annotated[str, AfterValidator(_in_suite)]
"""A path in a suite, relative to the file that names it."""


class ProtocolConfig(Config):
    """Keys that every protocol has."""

    dataset: str | dict[str, Any] = Field(
        description="a dataset's name, or a mapping with its `kind` and its switches"
    )
    learners: Annotated[list[str] | None, AfterValidator(distinct)] = Field(
        None, min_length=1, description="names of the learners to measure; all of them if left out"
    )
    seeds: Seeds | None = Field(None, description="overrides the suite's seeds")


S = TypeVar("S", bound=Setting)


class Protocol(ABC, Generic[S]):
    """One way of measuring.

    A subclass is registered with ``@protocols.register(name)``, has a nested
    ``Config(ProtocolConfig)`` and names the class of its settings.

    Args:
        config: an instance of the class's ``Config``.
        facts: of the dataset that the config names.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[ProtocolConfig]]
    setting_type: ClassVar[type[Setting]]
    keys: ClassVar[tuple[str, ...]] = ()
    """Keys that values add to their cell's setting, e.g. ``("eps",)``; tables may pivot on them."""

    def __init__(self, config: ProtocolConfig, facts: Facts) -> None:
        self.config = config
        self.facts = facts

    @abstractmethod
    def settings(self) -> Iterator[S]:
        """Yield one setting for each cell; it holds everything that changes the result."""

    @abstractmethod
    def training(self) -> TrainingData | None:
        """What learners are trained on first; None if they are measured untrained."""

    @abstractmethod
    def faults(self) -> Iterator[Fault]:
        """Yield impossible combinations, as far as the dataset's facts show them."""

    @abstractmethod
    def block(self) -> dict[str, str]:
        """Conditions printed under every table: condition -> value, in words."""

    def files(self) -> dict[str, Path]:
        """Hash -> path of each file that a setting names by its hash."""
        return {}

    def measured_on(self, dataset: Dataset) -> Dataset:
        """The dataset that is measured on: the one of training, unless more is needed."""
        return dataset

    def examine(self, load: Callable[[], Loaded]) -> None:
        """Find faults that only the data shows.

        Args:
            load: reads the data, which takes time.

        Raises:
            DataError: the data lacks what the config asks for.
        """
        return None

    def refuses(self, learner: type[Learner]) -> str | None:
        """Why this protocol cannot measure a learner, or None."""
        return None

    def compared_with(self) -> str | None:
        """Name of a learner of the suite that its numbers are relative to, or None."""
        return None

    @classmethod
    def code(cls, setting: S) -> list[type]:
        """Further classes, e.g. the attack, whose code is part of the cell's key."""
        return []

    @classmethod
    @abstractmethod
    def measure(cls, learner: Learner, data: Loaded, setting: S, context: Context) -> Measurement:
        """Measure one setting on a trained learner, which is on ``context.device``.

        As a class method it depends on its arguments alone, which the cell's key covers.
        """

    @property
    def crossed(self) -> bool:
        """Whether each learner judges what was measured on each (see ``judge``)."""
        return False

    @classmethod
    def judge(
        cls,
        learner: Learner,
        data: Loaded,
        setting: S,
        context: Context,
        measured: Mapping[str, np.ndarray],
    ) -> Measurement:
        """Judge what was measured on another learner; only called if the protocol is ``crossed``.

        Args:
            learner: as for ``measure``.
            setting: that of ``measure``, with the other learner's name as its ``source``.
            measured: arrays of the other learner's measurement.
        """
        raise NotImplementedError(f"{cls.kind} crosses no learners")

    @property
    def checked(self) -> bool:
        """Whether trust checks follow each measurement."""
        return False

    def relatives(self, setting: S) -> list[Relative]:
        """Learners whose networks the trust checks of a setting compare with.

        Each is a training of its own in the plan, one for each dataset and splitting.
        """
        return []

    @classmethod
    def trust(
        cls,
        learner: Learner,
        data: Loaded,
        setting: S,
        context: TrustContext,
        measured: Measurement,
    ) -> list[TrustCheck]:
        """Judge whether a measurement is reliable; only called if the protocol is ``checked``.

        Args:
            learner: as for ``measure``.
            measured: the return value of ``measure``.
        """
        return []

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """The smallest difference between two learners that is likely to be detected, in words.

        Args:
            seeds: number of seeds.
            spread: standard deviation of the difference between two learners on one unit, as
                measured; None if unknown.

        Returns:
            A sentence fragment; empty if it cannot be computed.
        """
        return ""
