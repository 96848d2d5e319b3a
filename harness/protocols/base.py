"""The Protocol contract: how a learner is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from harness.data.base import Facts, Loaded
from harness.learning.learner import Learner, Progress, Regime
from harness.records import TrustCheck, Value
from harness.registry import Config, distinct
from harness.rng import Rng


@dataclass(frozen=True)
class Fault:
    """A combination that cannot be: where (path below the protocol's own mapping) and what."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""


@dataclass(frozen=True)
class TrainingData:
    """What a learner is trained on before it is measured: the ``train`` split of a splitting, with labels or without."""

    splitting: str
    labelled: bool = True


@dataclass(frozen=True)
class Context:
    """What a measurement may use.

    Attributes:
        rng: of (suite seed); never of the learner, so that every learner meets the same episodes and the same noise.
        device: torch device name.
        batch_size: images pushed through a network at once; changes no value.
        progress: to be called now and then.
        files: what a setting names by its hash -> where it lies (see ``Protocol.files``).
    """

    rng: Rng
    device: str
    batch_size: int
    progress: Progress
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What a protocol measured in one cell.

    Attributes:
        values: the numbers.
        verdicts: name -> array; what the values derive from.
        trust: the checks that were made.
    """

    values: list[Value]
    verdicts: dict[str, np.ndarray] = field(default_factory=dict)
    trust: list[TrustCheck] = field(default_factory=list)


def _beside(value: str, info: ValidationInfo) -> str:
    folder = info.context["folder"](info.field_name) if info.context else Path()
    return str(folder / Path(value).expanduser())


SuiteFile = Annotated[str, AfterValidator(_beside)]
"""A path in a suite, relative to the file that it stands in."""


class ProtocolConfig(Config):
    """Keys that every protocol has."""

    dataset: str | dict[str, Any] = Field(
        description="a dataset's name, or a mapping with its `kind` and its switches"
    )
    learners: Annotated[list[str] | None, AfterValidator(distinct)] = Field(
        None, min_length=1, description="names of the learners to measure; all of them if left out"
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0)]] | None, AfterValidator(distinct)] = Field(
        None, min_length=1, description="overrides the suite's seeds"
    )


class Protocol(ABC):
    """One way of measuring. Registered with ``@protocols.register(name)``; has a nested ``Config(ProtocolConfig)``.

    Args:
        config: an instance of the class's ``Config``.
        facts: of the dataset that it names.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[ProtocolConfig]]
    keys: ClassVar[tuple[str, ...]] = ()
    """Keys that values add to their cell's setting, e.g. ``("eps",)``; tables may pivot on them too."""

    def __init__(self, config: ProtocolConfig, facts: Facts):
        self.config, self.facts = config, facts

    @abstractmethod
    def settings(self) -> Iterator[dict[str, Any]]:
        """One JSON-able dict a measurement cell. It holds *everything* that changes the result (it is hashed)."""

    @abstractmethod
    def training(self) -> TrainingData | None:
        """What learners are trained on; None: they are measured untrained."""

    @abstractmethod
    def faults(self) -> Iterator[Fault]:
        """Impossible combinations, found from the dataset's facts alone."""

    def files(self) -> dict[str, Path]:
        """Hash -> file, for what a setting names by its hash: where a file lies is nothing that a result depends on."""
        return {}

    def examine(self, load: Callable[[], Loaded]) -> None:
        """Faults that only the data shows; ``load`` reads it, which costs time.

        Raises:
            DataError: what is wrong.
        """
        return None

    def refuses(self, learner: type[Learner]) -> str | None:
        """Why this protocol cannot measure a learner, or None."""
        return None

    def modules(self, setting: dict[str, Any]) -> list[str]:
        """Modules whose code (with all that they import) computes this setting: part of the cell's key."""
        return [type(self).__module__]

    @classmethod
    @abstractmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context
    ) -> Measurement:
        """Measure one setting on a trained learner (already on ``context.device``).

        A class method, so that nothing but ``setting`` (and what the cell's key is a hash of) can change the result.
        """

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """The smallest difference between two learners that is likely to show, in words; "" where unknown.

        Args:
            seeds: how many there are.
            spread: standard deviation of the difference between two learners on one unit, as measured; None: not known.
        """
        return ""

    @abstractmethod
    def block(self) -> dict[str, str]:
        """The protocol block printed under every table: each condition and its value, in words."""


__all__ = [
    "Context",
    "Fault",
    "Measurement",
    "Protocol",
    "ProtocolConfig",
    "Regime",
    "SuiteFile",
    "TrainingData",
]
