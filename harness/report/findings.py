"""The findings of a check: one judgement per number of the reference, and per bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from harness.report.reference import Row

Outcome = Literal[
    "same",
    "kept",
    "steady",
    "undecided",
    "worse",
    "better",
    "moved",
    "differs",
    "changed",
    "missing",
    "untrusted",
    "holds",
    "fails",
]

MEANING: dict[Outcome, str] = {
    "same": "every verdict and value as in the reference",
    "kept": "a fall by the margin is excluded",
    "steady": "a number without units; no change is shown",
    "undecided": "too little power to tell",
    "worse": "a fall is shown",
    "better": "a rise is shown: a weaker attack or easier episodes look like this",
    "moved": "a number without units; a change is shown",
    "differs": "not equal (exact mode)",
    "changed": "another measurement than in the reference: data, setting or samples",
    "missing": "in the reference or expected, and not measured",
    "untrusted": "a trust check fails that did not fail in the reference, or on an expected number",
    "holds": "expected: the whole 95 % interval keeps the bar",
    "fails": "expected: the whole 95 % interval violates the bar",
}

PASSING = ("same", "kept", "steady", "holds")

Mode = Literal["exact", "statistical", "expected"]
"""How numbers are judged: against a reference, or, without one, by bars alone."""


@dataclass(frozen=True)
class Limits:
    """What counts as a change.

    Attributes:
        tolerance: A change no larger than this never fails. A fraction of accuracy, or of the
            number itself if it has no units.
        margin: A fall in accuracy by this much must not pass.
        level: Probability of reporting a change in a run without any, over all numbers together.
            Undecided numbers may fail in addition (``gate.statistical``), the more often the
            fewer units there are.
    """

    tolerance: float = 0.005
    margin: float = 0.02
    level: float = 0.01


@dataclass(frozen=True)
class Finding:
    """One number and its judgement.

    Attributes:
        learner, where, metric: The number.
        outcome: The judgement, see ``MEANING``.
        said: The judgement in words.
        reference, value: Means over seeds, in the reference and now.
        difference, low, high: value - reference and its 95 % interval; None if it is not tested.
        p: Two-sided, Holm-corrected over all tested numbers.
        paired: Whether the same images or episodes were compared.
        n, unit: What the comparison is over.
        detectable: The difference that it finds with probability 0.8 (before correction).
        needed: Units that would find the margin, if it is undecided.
        value_low, value_high: 95 % interval of ``value``; only of a bar.
        bar: What a bar expects, in words; empty for a number of the reference.
        fails: Whether it fails the check.
        notes: How the learner is configured differently.
    """

    learner: str
    where: str
    metric: str
    outcome: Outcome
    said: str
    reference: float | None = None
    value: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    paired: bool = False
    n: int = 0
    unit: str = ""
    detectable: float | None = None
    needed: int | None = None
    value_low: float | None = None
    value_high: float | None = None
    bar: str = ""
    fails: bool = False
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Learner and number: ``"bio: robust, pgd-8, eps 0.1"``."""
        return f"{self.learner}: {self.where}"


@dataclass(frozen=True)
class Report:
    """All findings of a check.

    Attributes:
        suite: Name of the suite.
        mode: How numbers were compared.
        limits: What counts as a change.
        findings: One per number of the reference, then one per bar.
        notes: On the check as a whole.
        reference, run: What made the two sides.
    """

    suite: str
    mode: Mode
    limits: Limits
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def bars(self) -> list[Finding]:
        """The findings on what the suite expects."""
        return [finding for finding in self.findings if finding.bar]

    @property
    def failed(self) -> list[Finding]:
        """The findings that fail the check."""
        return [finding for finding in self.findings if finding.fails]

    @property
    def undecided(self) -> list[Finding]:
        """The undecided findings that do not fail the check."""
        return [
            finding
            for finding in self.findings
            if finding.outcome == "undecided" and not finding.fails
        ]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self) | {"passed": self.passed}


def finding_on(row: Row, other: Row | None, outcome: Outcome, said: str) -> Finding:
    """A finding on a number, without a difference."""
    return Finding(
        learner=row.learner,
        where=row.where,
        metric=row.metric,
        outcome=outcome,
        said=said,
        reference=mean_of(row, other),
        value=mean_of(other, row) if other else None,
        fails=outcome not in (*PASSING, "undecided"),
    )


def mean_of(row: Row, other: Row | None = None) -> float:
    """The mean over seeds: the seeds that ``other`` has too, if there are any."""
    shared = row.seeds.keys() & other.seeds.keys() if other else set()
    values = [number.value for seed, number in row.seeds.items() if seed in shared or not shared]
    return float(np.mean(values))


def counted(findings: Sequence[Finding]) -> dict[Outcome, int]:
    """Outcome -> how often it occurs, in the order of ``MEANING``."""
    outcomes = [finding.outcome for finding in findings]
    return {outcome: outcomes.count(outcome) for outcome in MEANING if outcome in outcomes}


def noteworthy(report: Report) -> Iterator[Finding]:
    """The findings that a reader wants to see: failed ones, then undecided ones."""
    yield from report.failed
    yield from report.undecided
