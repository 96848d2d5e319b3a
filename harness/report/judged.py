"""Judging a number by its bound: what claims and bars have in common.

A number holds if its whole 95 % interval keeps the bound, fails if its whole interval violates it,
and is open otherwise. A number without spread is its own interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.cells.results import Results
from harness.records import Record
from harness.report.aggregate import aggregate
from harness.report.formats import metric_name, number
from harness.report.grid import numbers_of
from harness.suite.specs.bounds import BoundedSpec

Verdict = Literal["holds", "fails", "open", "not measured", "not trusted"]

Limits = tuple[float, float]
"""Smallest and largest value that keeps a bound; infinite on a side without one."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; the bounds are None if no interval is defined."""

    mean: float
    low: float | None
    high: float | None

    def mirrored(self) -> Estimate:
        """The estimate with its sign changed."""
        if self.low is None or self.high is None:
            return Estimate(-self.mean, None, None)
        return Estimate(-self.mean, -self.high, -self.low)

    @property
    def least(self) -> float:
        """The lower end of the interval, or the mean without one."""
        return self.mean if self.low is None else self.low

    def verdict(self, limits: Limits) -> Verdict:
        """Judge the whole interval.

        >>> Estimate(0.5, 0.4, 0.6).verdict((0.3, math.inf))
        'holds'
        >>> Estimate(0.5, 0.4, 0.6).verdict((0.5, math.inf))
        'open'
        >>> Estimate(0.5, None, None).verdict((0, 0.4))
        'fails'
        """
        low = high = self.mean
        if self.low is not None and self.high is not None:
            low, high = self.low, self.high
        least, most = limits
        if least <= low and high <= most:
            return "holds"
        return "fails" if high < least or low > most else "open"


@dataclass(frozen=True)
class OwnNumber:
    """One number of a learner over its seeds.

    Attributes:
        records: One per seed; empty if it was not measured.
        estimate: Mean over seeds and its interval; None if it was not measured.
        notes: Why it is over other seeds than planned; empty if it is complete.
    """

    records: list[Record]
    estimate: Estimate | None
    notes: tuple[str, ...]

    def verdict(self, limits: Limits) -> Verdict:
        """Judge the number; one with a failed trust check confirms nothing."""
        if self.estimate is None or self.notes:
            return "not measured"
        return "not trusted" if is_distrusted(self.records) else self.estimate.verdict(limits)


def own_number(results: Results, spec: BoundedSpec, learner: str) -> OwnNumber:
    """Look a number up in results that have their worst case."""
    records = records_of(results, spec, learner)
    if not records:
        return OwnNumber([], None, ())
    mean = aggregate(records, results.verdicts)
    estimate = Estimate(mean.value, mean.low, mean.high)
    return OwnNumber(records, estimate, missing_seeds(results, spec, {learner: records}))


def records_of(results: Results, spec: BoundedSpec, learner: str) -> list[Record]:
    """The records of a number, one per seed."""
    return numbers_of(results, spec.protocol, spec.metric, spec.setting, learner)


def is_distrusted(records: Sequence[Record]) -> bool:
    """Whether a trust check failed on any of them."""
    return any(record.trust == "FAIL" for record in records)


def missing_seeds(
    results: Results, spec: BoundedSpec, measured: Mapping[str, list[Record]]
) -> tuple[str, ...]:
    """Name the learners whose number is over other seeds than planned.

    Nothing must be decided by the seeds that happened to finish.
    """
    planned = sorted(results.seeds.get(spec.protocol, []))
    if not planned:
        return ()
    notes = []
    for name, records in measured.items():
        seeds = [record.seed for record in records]
        if seeds != planned:
            notes.append(
                f"{name} has {metric_name(spec.metric)} in {spec.protocol} only for seeds "
                f"{', '.join(map(str, seeds))} of {', '.join(map(str, planned))}"
            )
    return tuple(notes)


def limits_text(metric: str, limits: Limits) -> str:
    """A bound in signs.

    >>> limits_text("accuracy", (0.5, math.inf)), limits_text("accuracy", (0.9, 0.95))
    ('≥ 50.0', '90.0 to 95.0')
    """
    low, high = limits
    if math.isinf(high):
        return f"≥ {number(metric, low)}"
    if math.isinf(low):
        return f"≤ {number(metric, high)}"
    return f"{number(metric, low)} to {number(metric, high)}"


def number_text(
    metric: str, value: float | None, low: float | None = None, high: float | None = None
) -> str:
    """A number with its interval in brackets, if it has one.

    >>> number_text("accuracy", 0.712, 0.69, 0.734), number_text("accuracy", None)
    ('71.2 [69.0, 73.4]', '')
    """
    if value is None:
        return ""
    if low is None or high is None or low == high:
        return number(metric, value)
    return f"{number(metric, value)} [{number(metric, low)}, {number(metric, high)}]"
