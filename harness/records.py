"""A record: one measured number with its interval, its sample size and its origin.

Tables are made from records and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

SCHEMA_VERSION = 1

Unit = Literal["sample", "image", "episode", "listed episode", "stream", "synapse", "neuron"]
"""What ``n`` counts.

A sample is one verdict; an image averages several verdicts. Each seed draws its own episodes,
whereas listed episodes come from a file and are the same for every seed. A stream is one order of a
sequence of tasks; the orders are the same for every seed.
"""

CROSSED = frozenset({"sample", "image", "listed episode", "stream"})
"""Units that are the same ones for every seed."""

FROM_VERDICTS = frozenset({"accuracy", "error", "proven", "smoothed_proven"})
"""Metrics that are means of stored verdicts, or of shares of them; each is within [0, 1]."""

Trust = Literal["PASS", "WARN", "FAIL", "-"]
"""Judgement of a trust check; ``"-"`` where nothing was checked."""

NO_ATTACK = "no attack"
"""Source in a setting: images as they are. No learner can have this name, which has a space."""

WORST = "worst"
"""Attack name in a setting: the worst case over all attacks of a sweep, from their verdicts."""

UNION = "union"
"""Attack name in a setting: the worst case over several norms, each at a budget of its own."""


@dataclass(frozen=True)
class Value:
    """One number as a protocol measures it.

    Attributes:
        metric: Name of the metric, e.g. ``"accuracy"``.
        value: The number. Accuracies are fractions.
        low: Lower end of the 95 % interval, None if no interval is defined.
        high: Upper end of the 95 % interval, None if no interval is defined.
        n: Number of units that the value is computed over.
        unit: What ``n`` counts.
        setting: What distinguishes this value from the others of its cell, e.g. ``{"eps": 0.1}``.
        verdicts: Name of the stored array (S,) whose mean is the value, for paired tests. None if
            there is no such array.
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
    """Result of one trust check.

    Attributes:
        name: Name of the check.
        level: Its judgement.
        detail: The number behind the judgement, in words.
    """

    name: str
    level: Trust
    detail: str


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the long format.

    ``setting`` merges the setting of the cell and the one of the value. The fields from ``metric``
    to ``verdicts`` are those of ``Value``; the last ones say where and when it was measured.
    """

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
        """Return a plain dict, ready for JSON."""
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
"""Fields that are identical, byte for byte, in two runs of the same suite and seed."""

_SEVERITY: dict[Trust, int] = {"-": 0, "PASS": 1, "WARN": 2, "FAIL": 3}


def worst_level(levels: Iterable[Trust]) -> Trust:
    """Return the most severe judgement.

    >>> worst_level(["PASS", "WARN", "-"])
    'WARN'
    >>> worst_level([])
    '-'
    """
    return max(levels, key=_SEVERITY.__getitem__, default="-")
