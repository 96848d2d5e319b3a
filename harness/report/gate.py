"""Guarding numbers: what a run measured against a reference, number by number.

*Exact*: every verdict and every value equal, which can be asked in the same environment only.

*Statistical*: a test of non-inferiority. A number is *kept* if its interval shows that it has not fallen by the margin;
it is *worse* if a fall is shown (at a level held over all numbers, Holm) that is larger than the tolerance; in between it
is *undecided*, and then it is said how much would decide it. Where seed, data and setting agree, the same images and
episodes were measured (their hashes say so) and the difference is paired unit by unit; the seeds are then a given: what is
tested is this code, on these seeds, over images or episodes like these. With other seeds the seeds' means are compared
(Welch), since learners that were trained anew differ by more than images and episodes tell. A number that rose fails too:
an attack that became weaker or episodes that became easier look like progress. If a change is meant, write the reference anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from harness import environment
from harness.errors import HarnessError
from harness.metrics.statistics import (
    detectable_difference,
    holm,
    mcnemar_exact,
    paired_shares,
    paired_t,
    units_needed,
    welch,
)
from harness.records import CROSSED
from harness.report.formats import BETTER, is_percent, number
from harness.report.reference import Number, Reference, Row

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
]
MEANING: dict[Outcome, str] = {
    "same": "every verdict and value as in the reference",
    "kept": "shown not to have fallen by the margin",
    "steady": "a number without units; no change is shown",
    "undecided": "too little power to tell",
    "worse": "a fall is shown",
    "better": "a rise is shown: an attack weaker than before, or easier episodes, look like this",
    "moved": "a number without units; a change is shown",
    "differs": "not equal (exact mode)",
    "changed": "another measurement than in the reference: data, setting or samples",
    "missing": "in the reference, and not measured",
    "untrusted": "a trust check fails that did not in the reference",
}
PASSING = ("same", "kept", "steady")


@dataclass(frozen=True)
class Limits:
    """What counts as a change.

    Attributes:
        tolerance: a change no larger than this never fails; a fraction of accuracy, or of the number where it has no units.
        margin: a fall in accuracy as large as this must not pass.
        level: probability that a change is said of a run without any, over all numbers together. What is undecided may fail
            besides (``statistical``), and does so the more often the fewer units there are.
    """

    tolerance: float = 0.005
    margin: float = 0.02
    level: float = 0.01


@dataclass(frozen=True)
class Finding:
    """One number, judged.

    Attributes:
        reference, value: means over seeds.
        difference, low, high: value - reference and its 95 % interval; None where it is not tested.
        p: two-sided, Holm-corrected over all tested numbers.
        paired: whether the same images or episodes were compared.
        n, unit: what the comparison is over.
        detectable: the difference that it finds with probability 0.8 (before correction).
        needed: units that would find the margin, where it is undecided.
        fails: whether it fails the build.
        said: the finding in words.
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
    fails: bool = False
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``"bio: robust, pgd-8, eps 0.1"``."""
        return f"{self.learner}: {self.where}"


@dataclass(frozen=True)
class Report:
    """All findings of a check."""

    suite: str
    mode: Literal["exact", "statistical"]
    limits: Limits
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Finding]:
        """What fails the build."""
        return [finding for finding in self.findings if finding.fails]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"passed": self.passed}


@dataclass(frozen=True)
class Difference:
    """Mean of now - before with its 95 % interval and two-sided p; ``spread``: standard deviation of a unit's difference."""

    mean: float
    low: float
    high: float
    p: float
    paired: bool
    n: int
    unit: str
    spread: float


def exact(
    before: Reference, now: Reference, failures: dict[tuple[str, str], str] | None = None
) -> Report:
    """Every number equal, verdict by verdict.

    Raises:
        HarnessError: the environments differ, so that equality cannot be asked.
    """
    apart = environment.differences(
        now.made_by.get("environment", {}), before.made_by.get("environment", {})
    )
    if apart:
        raise HarnessError(
            f"exact equality cannot be asked: {'; '.join(apart)}",
            where="--exact",
            hint="the last bits of sums differ between releases and processors, and training amplifies them; "
            "leave --exact out for a statistical check, or write a reference here with --update",
        )
    findings = [
        _structural(row, now, failures or {}, every_seed=True) or _equal(row, _match(row, now))
        for row in before.rows
    ]
    return _report("exact", Limits(), before, now, findings)


def statistical(
    before: Reference,
    now: Reference,
    limits: Limits | None = None,
    *,
    undecided: str = "auto",
    rises: bool = True,
    failures: dict[tuple[str, str], str] | None = None,
) -> Report:
    """No number fell, as far as can be told.

    Holm's correction runs over the numbers in which anything differs: the others cannot raise an alarm (Tarone 1990).

    Args:
        undecided: whether an undecided number fails: ``fail``, ``warn``, or ``auto``: where it is paired.
        rises: whether a number fails that is shown to have risen.
        failures: (learner, protocol) -> why its cells failed.
    """
    limits = limits or Limits()
    settled = {
        row.key: _structural(row, now, failures or {}) or _same(row, _match(row, now))
        for row in before.rows
    }
    tested = {
        row.key: difference(row, _match(row, now))
        for row in before.rows
        if settled[row.key] is None
    }
    ps = holm([d.p for d in tested.values() if d])
    corrected = dict(zip([key for key, d in tested.items() if d], ps, strict=True))
    findings = [
        settled[row.key]
        or _judged(row, _match(row, now), tested[row.key], corrected.get(row.key), limits)
        for row in before.rows
    ]
    return _report(
        "statistical",
        limits,
        before,
        now,
        [replace(f, fails=_fails(f, undecided, rises)) for f in findings],
    )


def _fails(finding: Finding, undecided: str, rises: bool) -> bool:
    if finding.outcome == "undecided":
        return undecided == "fail" or (undecided == "auto" and finding.paired)
    return finding.outcome not in PASSING and (rises or finding.outcome != "better")


def _report(
    mode: Literal["exact", "statistical"],
    limits: Limits,
    before: Reference,
    now: Reference,
    findings: list[Finding],
) -> Report:
    known = {row.key for row in before.rows}
    new = [row.name for row in now.rows if row.key not in known]
    notes = []
    if new:
        notes.append(
            f"{len(new)} numbers are not in the reference and are not judged: {', '.join(new[:3])}"
            + (" ..." if len(new) > 3 else "")
        )
    if mode == "statistical":
        apart = environment.differences(
            now.made_by.get("environment", {}), before.made_by.get("environment", {})
        )
        if apart:
            notes.append(
                f"another environment than the reference's ({'; '.join(apart)}): equality to the byte cannot be asked"
            )
    configs = {
        name: changes(before.learners[name], config)
        for name, config in now.learners.items()
        if name in before.learners
    }
    findings = [replace(f, notes=(*f.notes, *configs.get(f.learner, ()))) for f in findings]
    notes += [
        f"{name} is configured differently: {', '.join(found)}"
        for name, found in configs.items()
        if found
    ]
    return Report(before.suite, mode, limits, findings, notes, before.made_by, now.made_by)


def _match(row: Row, now: Reference) -> Row | None:
    """The row of the same number: of several, the one of the same setting."""
    rivals = [other for other in now.rows if other.key == row.key]
    return next(
        (other for other in rivals if other.setting == row.setting), rivals[0] if rivals else None
    )


def _structural(
    row: Row, now: Reference, failures: dict[tuple[str, str], str], every_seed: bool = False
) -> Finding | None:
    """What can be said without looking at a number: that it is not there, or is of something else."""
    other = _match(row, now)
    if other is None:
        why = failures.get((row.learner, row.protocol))
        said = f"its cell failed: {why}" if why else f"not measured{_instead(row, now)}"
        return _finding(row, None, "missing", said)
    if other.dataset != row.dataset:
        return _finding(row, other, "changed", "other data than the reference's")
    if found := changes(row.setting, other.setting):
        return _finding(row, other, "changed", f"another measurement: {', '.join(found)}")
    shared = sorted(row.seeds.keys() & other.seeds.keys())
    for seed in shared:
        a, b = row.seeds[seed], other.seeds[seed]
        if (a.samples and b.samples and a.samples != b.samples) or _length(a) != _length(b):
            return _finding(
                row, other, "changed", f"seed {seed} drew other {_units(row)} than in the reference"
            )
    if every_seed and shared != sorted(row.seeds):
        lacking = ", ".join(str(seed) for seed in sorted(row.seeds) if seed not in shared)
        return _finding(
            row,
            other,
            "missing",
            f"seed {lacking} was not run, and equality is asked of every seed",
        )
    if _trusted(row) and not _trusted(other):
        return _finding(
            row, other, "untrusted", "a trust check fails now (`harness trust` says which)"
        )
    return None


def _instead(row: Row, now: Reference) -> str:
    """What is measured where a number is missing."""
    settings = {
        ", ".join(f"{key} {value}" for key, value in other.at)
        for other in now.rows
        if (other.protocol, other.learner, other.metric) == (row.protocol, row.learner, row.metric)
    }
    return f"; there are: {'; '.join(sorted(settings)[:4])}" if settings - {""} else ""


def _trusted(row: Row) -> bool:
    return all(number.trust != "FAIL" for number in row.seeds.values())


def _length(number: Number) -> int | None:
    return None if number.units is None else len(number.units)


def _units(row: Row) -> str:
    return "images" if row.unit == "sample" else f"{row.unit}s"


def changes(before: Any, now: Any, path: str = "") -> list[str]:
    """Where two nested values differ, in words.

    >>> changes({"config": {"steps": 8}, "n": 1}, {"config": {"steps": 7}, "n": 1})
    ['config.steps 8 -> 7']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return [
            change
            for key in keys
            for change in changes(before.get(key), now.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if before == now else [f"{path} {before} -> {now}"]


def _same(row: Row, other: Row) -> Finding | None:
    """Where the same seeds gave the same verdicts and values."""
    equal = row.seeds.keys() == other.seeds.keys() and not list(_unequal(row, other))
    return _finding(row, other, "same", MEANING["same"]) if equal else None


def _equal(row: Row, other: Row) -> Finding:
    """Exact mode: values and verdicts of every seed."""
    apart = list(_unequal(row, other))
    if not apart:
        return _finding(row, other, "same", MEANING["same"])
    means = f"{number(row.metric, _mean(row))} before, {number(row.metric, _mean(other))} now"
    return _finding(row, other, "differs", f"{means}; {'; '.join(apart)}")


def _unequal(row: Row, other: Row) -> Iterator[str]:
    """The seeds whose verdicts or values differ, in words."""
    for seed, before in row.seeds.items():
        now = other.seeds[seed]
        if before.units is not None and (wrong := int(np.sum(before.units != now.units))):
            yield f"seed {seed}: {wrong} of {len(before.units)} {_units(row)} differ"
        elif before.value != now.value and not (math.isnan(before.value) and math.isnan(now.value)):
            yield f"seed {seed}: {before.value!r} before, {now.value!r} now"


def difference(row: Row, other: Row) -> Difference | None:
    """``other - row``: paired by unit on the seeds that both have, else between the means of the seeds; None for one seed a
    side, which says nothing of how seeds differ.
    """
    shared = sorted(row.seeds.keys() & other.seeds.keys())
    pairs = [(other.seeds[seed].units, row.seeds[seed].units) for seed in shared]
    if pairs and all(a is not None and b is not None and len(a) == len(b) > 1 for a, b in pairs):
        return _paired(pairs, row)
    before, now = ([one.value for one in side.seeds.values()] for side in (row, other))
    if sorted(before) == sorted(now):
        return Difference(
            0.0, 0.0, 0.0, 1.0, False, len(now), "seed", float(np.std(before)) * math.sqrt(2)
        )
    if min(len(before), len(now)) < 2:
        return None
    mean, low, high, p = welch(now, before)
    return Difference(
        mean,
        low,
        high,
        p,
        False,
        len(now),
        "seed",
        math.sqrt(np.var(before, ddof=1) + np.var(now, ddof=1)),
    )


def _paired(pairs: list[tuple[np.ndarray, np.ndarray]], row: Row) -> Difference:
    """Test images are the same in every seed: an image counts once, with its mean over seeds. Episodes are each seed's own."""
    crossed = row.unit in CROSSED and len({len(a) for a, _ in pairs}) == 1
    join = (lambda arrays: np.mean(arrays, axis=0)) if crossed else np.concatenate
    now, before = (join([pair[side] for pair in pairs]) for side in (0, 1))
    n, unit, spread = len(now), _units(row), float(np.std(now - before, ddof=1))
    if row.unit == "sample" and len(pairs) == 1:
        return Difference(
            *paired_shares(now, before), mcnemar_exact(now, before), True, n, unit, spread
        )
    return Difference(*paired_t(now, before), True, n, unit, spread)


def _judged(
    row: Row, other: Row, found: Difference | None, p: float | None, limits: Limits
) -> Finding:
    if found is None:
        return _finding(
            row,
            other,
            "undecided",
            "one seed says nothing of how seeds differ: run with two or more (`--set seeds=[...]`)",
        )
    base = replace(
        _finding(row, other, "steady", ""),
        difference=found.mean,
        low=found.low,
        high=found.high,
        p=float(p),
        paired=found.paired,
        n=found.n,
        unit=found.unit,
        detectable=detectable_difference(found.n, found.spread),
    )
    if _is_graded(row):
        return _graded(base, row, found, limits)
    size = max(abs(base.reference), abs(base.value))
    moved = p <= limits.level and abs(found.mean) > limits.tolerance * size
    return replace(base, outcome="moved" if moved else "steady", said=_words(base, row))


def _is_graded(row: Row) -> bool:
    return BETTER.get(row.metric) == 1 and all(
        number.units is not None for number in row.seeds.values()
    )


def _graded(base: Finding, row: Row, found: Difference, limits: Limits) -> Finding:
    said = _words(base, row)
    if base.p <= limits.level and abs(found.mean) > limits.tolerance:
        return replace(base, outcome="worse" if found.mean < 0 else "better", said=said)
    if found.low > -limits.margin:
        return replace(base, outcome="kept", said=said)
    needed = units_needed(found.spread, limits.margin)
    more = (
        f"about {needed} {found.unit if found.paired else 'seeds a side'} would tell, {found.n} were compared"
        if needed > found.n
        else "the fall that is seen is too near the margin for more of them to help much"
    )
    return replace(
        base,
        outcome="undecided",
        needed=needed,
        said=f"{said}; a fall by {_points(limits.margin, row)} cannot be excluded: {more}",
    )


def _words(f: Finding, row: Row) -> str:
    moved = "fell" if f.difference < 0 else "rose" if f.difference > 0 else "stayed"
    arms = f"95 % interval {_signed(f.low, row)} to {_signed(f.high, row)}"
    over = f"{f.n} {f.unit}, the same ones" if f.paired else f"means of {f.n} seeds, unpaired"
    by = f" by {_points(abs(f.difference), row)}" if f.difference else ""
    return (
        f"{moved}{by}, {number(row.metric, f.reference)} before, {number(row.metric, f.value)} now "
        f"({arms}; p = {f.p:.2g}, Holm; {over})"
    )


def _points(size: float, row: Row) -> str:
    return f"{100 * size:.2f} points" if is_percent(row.metric) else f"{size:.3g}"


def _signed(size: float, row: Row) -> str:
    return f"{100 * size:+.2f}" if is_percent(row.metric) else f"{size:+.3g}"


def _mean(row: Row, other: Row | None = None) -> float:
    """Mean over seeds: those that ``other`` has too, where there are any."""
    shared = row.seeds.keys() & other.seeds.keys() if other else ()
    return float(
        np.mean([one.value for seed, one in row.seeds.items() if seed in shared or not shared])
    )


def _finding(row: Row, other: Row | None, outcome: Outcome, said: str) -> Finding:
    return Finding(
        row.learner,
        row.where,
        row.metric,
        outcome,
        said,
        _mean(row, other),
        _mean(other, row) if other else None,
        fails=outcome not in (*PASSING, "undecided"),
    )


def counted(findings: Sequence[Finding]) -> dict[Outcome, int]:
    """Outcome -> how many, in the order of ``MEANING``."""
    return {
        outcome: count
        for outcome in MEANING
        if (count := sum(f.outcome == outcome for f in findings))
    }


def remarkable(report: Report) -> Iterator[Finding]:
    """What a reader wants to see: what fails, then what is undecided."""
    yield from report.failed
    yield from (f for f in report.findings if f.outcome == "undecided" and not f.fails)
