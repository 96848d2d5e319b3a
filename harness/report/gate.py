"""The gate: compare a run with a reference, number by number.

*Exact*: every verdict and every value must be equal. This is possible only in the same environment.

*Statistical*: a test of non-inferiority. A number is *kept* if its interval excludes a fall by the
margin. It is *worse* if a fall is shown that is larger than the tolerance (Holm's level holds over
all numbers). Otherwise it is *undecided*, and the finding says how many units would decide it.

If seed, data and setting agree, the same images and episodes were measured (their hashes are
checked), and the difference is paired unit by unit. The seeds are then fixed: the test is about
this code on these seeds, over images or episodes like these. With other seeds the seeds' means are
compared (Welch), because learners that were trained again differ by more than images and episodes
show; where both sides have the same images, the interval covers other images too.

A number that rose fails too: a weaker attack or easier episodes look like progress. After an
intended change, write a new reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from harness import environment
from harness.errors import HarnessError
from harness.metrics.power import detectable_difference, units_needed
from harness.metrics.statistics import holm
from harness.report.changes import changes
from harness.report.difference import Difference, difference, unit_name
from harness.report.findings import (
    MEANING,
    PASSING,
    Finding,
    Limits,
    Mode,
    Report,
    finding_on,
    mean_of,
)
from harness.report.formats import BETTER, is_percent, number
from harness.report.reference import Number, Reference, Row

Failures = Mapping[tuple[str, str], str]
"""(learner, protocol) -> why its cells failed."""


def exact(before: Reference, now: Reference, failures: Failures | None = None) -> Report:
    """Require every number to be equal, verdict by verdict.

    Args:
        before: The reference.
        now: The run.
        failures: Why cells failed.

    Raises:
        HarnessError: The environments differ, so that equality cannot be expected.
    """
    apart = _environment_changes(before, now)
    if apart:
        raise HarnessError(
            f"cannot compare exactly: {'; '.join(apart)}",
            where="--exact",
            hint="the last bits of sums differ between releases and processors, and training "
            "amplifies them; leave --exact out for a statistical check, or write a reference "
            "here with --update",
        )
    findings = []
    for row in before.rows:
        other = _match(row, now)
        if other is None:
            findings.append(_missing(row, now, failures or {}))
        else:
            finding = _structural_change(row, other, every_seed=True)
            findings.append(finding or _compared_exactly(row, other))
    return _report("exact", Limits(), before, now, findings)


@dataclass(frozen=True)
class _Test:
    """A number that has to be tested, in the reference and now."""

    before: Row
    now: Row
    difference: Difference | None


def statistical(
    before: Reference,
    now: Reference,
    limits: Limits | None = None,
    *,
    undecided: str = "auto",
    rises: bool = True,
    failures: Failures | None = None,
) -> Report:
    """Require that no number fell, as far as the units can show.

    Holm's correction runs over the numbers that differ at all: the others cannot raise a false
    alarm (Tarone 1990).

    Args:
        before: The reference.
        now: The run.
        limits: What counts as a change.
        undecided: Whether an undecided number fails: ``fail``, ``warn``, or ``auto`` (fails if
            it is paired).
        rises: Whether a number that rose fails.
        failures: Why cells failed.
    """
    limits = limits or Limits()
    findings: dict[int, Finding] = {}
    tests: dict[int, _Test] = {}
    for place, row in enumerate(before.rows):
        other = _match(row, now)
        if other is None:
            findings[place] = _missing(row, now, failures or {})
            continue
        finding = _structural_change(row, other) or _same(row, other)
        if finding:
            findings[place] = finding
        else:
            tests[place] = _Test(row, other, difference(row, other, fixed_seeds=True))

    p = iter(holm([test.difference.p for test in tests.values() if test.difference]))
    for place, test in tests.items():
        if test.difference is None:
            findings[place] = finding_on(
                test.before,
                test.now,
                "undecided",
                "a single seed does not show how seeds differ: "
                "run two or more (`--set seeds=[...]`)",
            )
        else:
            findings[place] = _judged(test, test.difference, float(next(p)), limits)
    ordered = [
        replace(finding, fails=_fails(finding, undecided, rises))
        for _, finding in sorted(findings.items())
    ]
    return _report("statistical", limits, before, now, ordered)


def _fails(finding: Finding, undecided: str, rises: bool) -> bool:
    if finding.outcome == "undecided":
        return undecided == "fail" or (undecided == "auto" and finding.paired)
    if finding.outcome == "better":
        return rises
    return finding.outcome not in PASSING


def _report(
    mode: Mode, limits: Limits, before: Reference, now: Reference, findings: list[Finding]
) -> Report:
    """A report with notes on new numbers, on the environment and on configs."""
    notes = []
    known = {row.key for row in before.rows}
    new = [row.name for row in now.rows if row.key not in known]
    if new:
        more = " ..." if len(new) > 3 else ""
        notes.append(
            f"{len(new)} numbers are not in the reference and are not judged: "
            f"{', '.join(new[:3])}{more}"
        )
    apart = _environment_changes(before, now)
    if apart:
        notes.append(
            f"another environment than the reference's ({'; '.join(apart)}): "
            "numbers need not be equal to the last bit"
        )
    configs = {}
    for name, config in now.learners.items():
        if name in before.learners:
            configs[name] = changes(before.learners[name], config)
    for name, changed in configs.items():
        if changed:
            notes.append(f"{name} is configured differently: {', '.join(changed)}")
    findings = [
        replace(finding, notes=(*finding.notes, *configs.get(finding.learner, ())))
        for finding in findings
    ]
    return Report(before.suite, mode, limits, findings, notes, before.made_by, now.made_by)


def _environment_changes(before: Reference, now: Reference) -> list[str]:
    here = now.made_by.get("environment", {})
    there = before.made_by.get("environment", {})
    return environment.differences(here, there)


# ------------------------------------------------------------------- findings without a test


def _match(row: Row, now: Reference) -> Row | None:
    """The row of the same number; of several, the one with the same setting."""
    rivals = [other for other in now.rows if other.key == row.key]
    for other in rivals:
        if other.setting == row.setting:
            return other
    return rivals[0] if rivals else None


def _missing(row: Row, now: Reference, failures: Failures) -> Finding:
    """A number that was not measured: why, or which settings were measured instead."""
    why = failures.get((row.learner, row.protocol))
    if why:
        return finding_on(row, None, "missing", f"its cell failed: {why}")
    settings = {
        ", ".join(f"{key} {value}" for key, value in other.at)
        for other in now.rows
        if other.key[:3] == row.key[:3]
    }
    settings.discard("")
    instead = f"; measured: {'; '.join(sorted(settings)[:4])}" if settings else ""
    return finding_on(row, None, "missing", f"not measured{instead}")


def _structural_change(row: Row, other: Row, *, every_seed: bool = False) -> Finding | None:
    """What can be said without looking at a number: it is another measurement, or distrusted."""
    if other.dataset != row.dataset:
        return finding_on(row, other, "changed", "other data than in the reference")
    setting = changes(row.setting, other.setting)
    if setting:
        return finding_on(row, other, "changed", f"another measurement: {', '.join(setting)}")
    shared = sorted(row.seeds.keys() & other.seeds.keys())
    for seed in shared:
        if not _has_same_units(row.seeds[seed], other.seeds[seed]):
            said = f"seed {seed} drew other {unit_name(row)} than in the reference"
            return finding_on(row, other, "changed", said)
    missing = [seed for seed in sorted(row.seeds) if seed not in shared]
    if every_seed and missing:
        seeds = ", ".join(map(str, missing))
        said = f"seed {seeds} was not run, and exact mode requires every seed"
        return finding_on(row, other, "missing", said)
    if _is_trusted(row) and not _is_trusted(other):
        said = "a trust check fails now (see `harness trust`)"
        return finding_on(row, other, "untrusted", said)
    return None


def _has_same_units(before: Number, now: Number) -> bool:
    """Whether two numbers are over the same units, as far as that was stored."""
    if before.samples and now.samples and before.samples != now.samples:
        return False
    return _length(before) == _length(now)


def _length(one: Number) -> int | None:
    return None if one.units is None else len(one.units)


def _is_trusted(row: Row) -> bool:
    return all(one.trust != "FAIL" for one in row.seeds.values())


def _same(row: Row, other: Row) -> Finding | None:
    """A finding if the same seeds gave the same verdicts and values."""
    if row.seeds.keys() != other.seeds.keys() or any(_unequal_seeds(row, other)):
        return None
    return finding_on(row, other, "same", MEANING["same"])


def _compared_exactly(row: Row, other: Row) -> Finding:
    """Compare values and verdicts of every seed."""
    unequal = list(_unequal_seeds(row, other))
    if not unequal:
        return finding_on(row, other, "same", MEANING["same"])
    before = number(row.metric, mean_of(row))
    now = number(row.metric, mean_of(other))
    said = f"{before} before, {now} now; {'; '.join(unequal)}"
    return finding_on(row, other, "differs", said)


def _unequal_seeds(row: Row, other: Row) -> Iterator[str]:
    """The seeds whose verdicts or values differ, in words."""
    for seed, before in row.seeds.items():
        now = other.seeds[seed]
        unequal = 0
        if before.units is not None and now.units is not None:
            unequal = int(np.sum(before.units != now.units))
        if before.units is not None and unequal:
            yield f"seed {seed}: {unequal} of {len(before.units)} {unit_name(row)} differ"
        elif before.value != now.value and not (math.isnan(before.value) and math.isnan(now.value)):
            yield f"seed {seed}: {before.value!r} before, {now.value!r} now"


# --------------------------------------------------------------------------- tested findings


def _judged(test: _Test, found: Difference, p: float, limits: Limits) -> Finding:
    """Judge a number by its difference.

    Args:
        test: The number.
        found: Its difference.
        p: Holm-corrected p.
        limits: What counts as a change.
    """
    row = test.before
    before = mean_of(row, test.now)
    now = mean_of(test.now, row)
    said = _difference_text(row, before, now, found, p)
    finding = replace(
        finding_on(row, test.now, "steady", said),
        difference=found.mean,
        low=found.low,
        high=found.high,
        p=p,
        paired=found.paired,
        n=found.n,
        unit=found.unit,
        detectable=detectable_difference(found.n, found.spread),
    )
    is_shown = p <= limits.level
    if not _is_graded(row):
        size = max(abs(before), abs(now))
        moved = is_shown and abs(found.mean) > limits.tolerance * size
        return replace(finding, outcome="moved" if moved else "steady")
    if is_shown and abs(found.mean) > limits.tolerance:
        return replace(finding, outcome="worse" if found.mean < 0 else "better")
    if found.low > -limits.margin:
        return replace(finding, outcome="kept")
    needed = units_needed(found.spread, limits.margin)
    margin = _points(limits.margin, row)
    said = f"{said}; a fall by {margin} cannot be excluded: {_needed_text(needed, found)}"
    return replace(finding, outcome="undecided", needed=needed, said=said)


def _is_graded(row: Row) -> bool:
    """Whether a fall can be tested against the margin: an accuracy with stored units."""
    has_units = all(one.units is not None for one in row.seeds.values())
    return BETTER.get(row.metric) == 1 and has_units


def _needed_text(needed: int, found: Difference) -> str:
    if needed <= found.n:
        return "the observed fall is too close to the margin for more of them to help much"
    units = found.unit if found.paired else "seeds a side"
    return f"about {needed} {units} would tell, {found.n} were compared"


def _difference_text(row: Row, before: float, now: float, found: Difference, p: float) -> str:
    if found.mean:
        direction = "fell" if found.mean < 0 else "rose"
        moved = f"{direction} by {_points(abs(found.mean), row)}"
    else:
        moved = "unchanged"
    interval = f"95 % interval {_signed(found.low, row)} to {_signed(found.high, row)}"
    if found.paired:
        over = f"the same {found.n} {found.unit}"
    else:
        over = f"means of {found.n} seeds, unpaired"
    return (
        f"{moved}, {number(row.metric, before)} before, {number(row.metric, now)} now "
        f"({interval}; p = {p:.2g}, Holm; {over})"
    )


def _points(size: float, row: Row) -> str:
    return f"{100 * size:.2f} points" if is_percent(row.metric) else f"{size:.3g}"


def _signed(size: float, row: Row) -> str:
    return f"{100 * size:+.2f}" if is_percent(row.metric) else f"{size:+.3g}"
