"""A record: one measured number with its interval, its n and where it came from. Tables are made from nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

SCHEMA_VERSION = 1

Unit = Literal["sample", "image", "episode", "listed episode", "synapse", "neuron"]
"""What a number is over. A sample is one verdict; an image has the mean of several. Each seed draws episodes of its own."""
CROSSED = frozenset({"sample", "image", "listed episode"})
"""Units that are the same ones in every seed."""
Trust = Literal["PASS", "WARN", "FAIL", "-"]


WORST = "worst"
"""In a setting: the worst case over the attacks of a sweep, derived from their verdicts."""


@dataclass(frozen=True)
class Value:
    """One number as a protocol measures it.

    Attributes:
        metric: e.g. ``"accuracy"``.
        value: the number; accuracies are fractions.
        low, high: 95 % interval, None where none is defined.
        n: how many units it is over.
        unit: what n counts.
        setting: what distinguishes it from the other values of its cell, e.g. ``{"eps": 0.1}``.
        verdicts: name of the stored per-unit array (S,) it is the mean of, for paired tests; None where there is none.
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    unit: Unit = "sample"
    setting: dict[str, Any] | None = None
    verdicts: str | None = None


@dataclass(frozen=True)
class TrustCheck:
    """One trust check: its name, its judgement, and the number it judged by."""

    name: str
    level: Trust
    detail: str


@dataclass(frozen=True, slots=True)
class Record:
    """One row, long format. ``setting`` holds the cell's setting and what the value adds to it."""

    suite: str
    cell: str
    learner: str
    dataset: str
    protocol: str
    setting: dict[str, Any]
    seed: int
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: Unit
    verdicts: str | None
    trust: Trust
    wall_s: float
    device: str
    versions: dict[str, str]
    dataset_hash: str
    git_commit: str
    created: str

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


MEASURED = (
    "learner",
    "dataset",
    "protocol",
    "setting",
    "seed",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "trust",
)
"""The fields that two runs of the same suite and seed must agree on byte for byte."""

_STRENGTH: dict[Trust, int] = {"-": 0, "PASS": 1, "WARN": 2, "FAIL": 3}


def worst_level(levels: Iterable[Trust]) -> Trust:
    """The most alarming of some judgements; ``"-"`` where there are none."""
    return max(levels, key=_STRENGTH.__getitem__, default="-")
