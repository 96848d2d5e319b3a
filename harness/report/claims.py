"""Claims: hypotheses whose deciding rule the suite states before anything is measured.

A claim is a list of measures. A measure is a number of one learner, or its difference from
controls, and a bound. Its verdict follows from a 95 % interval, and the claim's verdict from those
of its measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.cells.results import Results
from harness.metrics.means import mean_gap_of_seeds
from harness.records import Record
from harness.report.aggregate import units_of
from harness.report.derived import with_derived
from harness.report.formats import describe, metric_name, number
from harness.report.grid import numbers_of
from harness.report.judged import (
    Estimate,
    Verdict,
    is_distrusted,
    limits_text,
    missing_seeds,
    own_number,
    records_of,
)
from harness.report.notes import matched
from harness.report.pairs import unit_gap
from harness.suite.specs.claims import ClaimSpec, MeasureSpec

_DECIDING: tuple[Verdict, ...] = ("fails", "open", "holds")
"""Verdicts against single controls; the first of them decides the measure."""

RULES = (
    "A measure holds if its whole 95 % interval keeps the bound, fails if its whole interval "
    "violates it, and is open otherwise; a number without spread is its own interval.",
    "Intervals are over seeds and, with stored verdicts, over images or episodes too; differences "
    "are paired by both, or taken from the intervals of one seed where units are not stored. "
    "A difference must keep its bound against every control, at a level "
    "divided by their number (Bonferroni). "
    "The control shown is the one that decides: it violates the bound, or comes closest to it.",
    "A claim is confirmed if all its measures hold, partly confirmed if some hold, refuted if "
    "none holds and one fails, and undecided otherwise. A measure with a failed trust check "
    "confirms nothing.",
)


@dataclass(frozen=True)
class Row:
    """One measure and its verdict.

    Attributes:
        claim, said: Name and wording of the claim.
        measure, bound: Both in words.
        metric: What is measured.
        learner, value, low, high: Mean of the learner over seeds, and its 95 % interval.
        control, control_value: The control that decides, because it violates the bound or comes
            closest to it, and its mean; empty and None without controls.
        difference, difference_low, difference_high: Learner minus that control, paired by seed.
        seeds: Number of seeds.
        verdict: On the measure.
        claim_verdict: On the whole claim.
        notes: Why controls were left out, or why nothing was decided.
    """

    claim: str
    said: str
    measure: str
    bound: str
    metric: str
    learner: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    control: str = ""
    control_value: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    seeds: int = 0
    verdict: Verdict = "not measured"
    claim_verdict: str = ""
    notes: tuple[str, ...] = field(default=())


def decide(results: Results, claims: Sequence[ClaimSpec]) -> list[Row]:
    """Decide every measure of every claim."""
    results = with_derived(results)
    rows = []
    for claim in claims:
        decided = [_measure(results, claim, spec) for spec in claim.measures]
        verdict = overall([row.verdict for row in decided])
        rows += [replace(row, claim_verdict=verdict) for row in decided]
    return rows


def overall(verdicts: Sequence[Verdict]) -> str:
    """The verdict on a claim from those on its measures.

    >>> overall(["holds", "holds"]), overall(["holds", "fails"])
    ('confirmed', 'partly confirmed')
    >>> overall(["fails", "open"]), overall(["open"])
    ('refuted', 'undecided')
    """
    if all(verdict == "holds" for verdict in verdicts):
        return "confirmed"
    if "holds" in verdicts:
        return "partly confirmed"
    return "refuted" if "fails" in verdicts else "undecided"


# ----------------------------------------------------------------------------------- one measure


def _measure(results: Results, claim: ClaimSpec, spec: MeasureSpec) -> Row:
    learner = spec.learner or claim.learner
    row = Row(
        claim=claim.name,
        said=claim.claim,
        measure=_measure_text(spec),
        bound=_bound_text(spec),
        metric=spec.metric,
        learner=learner,
    )
    own = own_number(results, spec, learner)
    if own.estimate is None:
        return row
    row = replace(
        row,
        value=own.estimate.mean,
        low=own.estimate.low,
        high=own.estimate.high,
        seeds=len(own.records),
        notes=own.notes,
    )
    if own.notes:
        return row
    if spec.comparison is None:
        return replace(row, verdict=own.verdict(spec.limits))
    row = _compared(results, claim, spec, own.records, row)
    if row.verdict != "not measured" and is_distrusted(own.records):
        return replace(row, verdict="not trusted")
    return row


# -------------------------------------------------------------------------------------- controls


def _compared(
    results: Results, claim: ClaimSpec, spec: MeasureSpec, own: list[Record], row: Row
) -> Row:
    """Decide a measure against its controls.

    Args:
        results: All results.
        claim: The claim.
        spec: The measure, with a bound on the difference from controls.
        own: The learner's records.
        row: What is known of the measure so far.
    """
    names, notes = _comparable_controls(results, claim, spec, row.learner)
    controls = {name: records_of(results, spec, name) for name in names}
    missing = sorted(name for name, records in controls.items() if not records)
    if missing or not names:
        missing = missing or ["any comparable control"]
        notes.append(f"{claim.name}: no number of {', '.join(missing)}")
        return replace(row, notes=tuple(notes))
    partial = missing_seeds(results, spec, controls)
    if partial:
        return replace(row, notes=(*notes, *partial))

    level = 1 - 0.05 / len(controls)  # Bonferroni
    differences = {
        name: _difference(own, records, results, level) for name, records in controls.items()
    }
    assert spec.comparison is not None
    bound, limit = spec.comparison
    # By how much the learner is on the right side of each control.
    advantages = differences
    if bound == "below_controls_by":
        advantages = {name: difference.mirrored() for name, difference in differences.items()}
    verdicts = {
        name: advantage.verdict((limit, math.inf)) for name, advantage in advantages.items()
    }
    # The control that decides: one that the bound fails against, else one that leaves it open.
    closest = min(
        advantages, key=lambda name: (_DECIDING.index(verdicts[name]), advantages[name].least)
    )

    notes += matched(results, spec.protocol, controls)
    distrusted = [name for name, records in controls.items() if is_distrusted(records)]
    notes += [f"{claim.name}: a trust check failed on {name}" for name in distrusted]
    return replace(
        row,
        control=closest,
        control_value=_mean(controls[closest]),
        difference=differences[closest].mean,
        difference_low=differences[closest].low,
        difference_high=differences[closest].high,
        verdict="not trusted" if distrusted else verdicts[closest],
        notes=tuple(notes),
    )


def _comparable_controls(
    results: Results, claim: ClaimSpec, spec: MeasureSpec, learner: str
) -> tuple[list[str], list[str]]:
    """The controls that count, and notes on why others do not."""
    controls = list(spec.controls or claim.controls)
    rule = claim.comparable
    if rule is None:
        return controls, []
    own_records = numbers_of(results, rule.protocol, rule.metric, rule.setting, learner)
    kept = []
    notes = []
    for name in controls:
        records = numbers_of(results, rule.protocol, rule.metric, rule.setting, name)
        # A control that cannot be compared counts too: leaving it out would favour the learner.
        if not own_records or not records:
            kept.append(name)
            continue
        own = _mean(own_records)
        theirs = _mean(records)
        if abs(theirs - own) > rule.within:
            notes.append(
                f"{claim.name}: {name} left out, its {rule.metric} in {rule.protocol} is "
                f"{number(rule.metric, theirs)}, not within {number(rule.metric, rule.within)} "
                f"of {number(rule.metric, own)}"
            )
        else:
            kept.append(name)
    return kept, notes


def _difference(own: list[Record], other: list[Record], results: Results, level: float) -> Estimate:
    """Mean difference over shared seeds, with its interval at ``level``."""
    own_by_seed = {record.seed: record for record in own}
    other_by_seed = {record.seed: record for record in other}
    shared = sorted(own_by_seed.keys() & other_by_seed.keys())
    pairs = [(own_by_seed[seed], other_by_seed[seed]) for seed in shared]
    gaps = [a.value - b.value for a, b in pairs]
    units = _paired_units(pairs, results)
    if units:
        first = [x for x, _ in units]
        second = [y for _, y in units]
        found = unit_gap(first, second, pairs[0][0].unit, level=level)
    elif len(gaps) > 1:
        found = mean_gap_of_seeds(gaps, level)
    elif gaps:
        return _apart(*pairs[0], level)
    else:
        return Estimate(float("nan"), None, None)
    return Estimate(found.mean, found.low, found.high)


def _apart(a: Record, b: Record, level: float) -> Estimate:
    """Difference of two numbers whose units are not paired, from their own 95 % intervals.

    Squared half widths add up; a side without an interval has no width, and without any interval
    the difference has none.
    """
    from scipy.special import ndtri

    gap = a.value - b.value
    if a.low is None and b.low is None:
        return Estimate(gap, None, None)
    wider = float(ndtri(0.5 + level / 2) / ndtri(0.975))
    down = wider * math.hypot(_side(a, -1), _side(b, 1))
    up = wider * math.hypot(_side(a, 1), _side(b, -1))
    return Estimate(gap, gap - down, gap + up)


def _side(record: Record, side: int) -> float:
    """Distance of a number's limit on one side: -1 for the lower, 1 for the upper."""
    limit = record.low if side < 0 else record.high
    return 0.0 if limit is None else abs(limit - record.value)


def _paired_units(
    pairs: list[tuple[Record, Record]], results: Results
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The units of both sides for each seed; empty if they are not stored or do not match."""
    units = []
    for a, b in pairs:
        if a.verdicts is None or b.verdicts is None:
            return []
        x = units_of(a, results.verdicts)
        y = units_of(b, results.verdicts)
        if x.shape != y.shape:
            return []
        units.append((x, y))
    return units


def _mean(records: Sequence[Record]) -> float:
    return float(np.mean([record.value for record in records]))


# ----------------------------------------------------------------------------------------- words


def _measure_text(spec: MeasureSpec) -> str:
    where = ", ".join(filter(None, [spec.protocol, describe(spec.setting)]))
    return f"{metric_name(spec.metric)} ({where})"


def _bound_text(spec: MeasureSpec) -> str:
    if spec.comparison is None:
        return limits_text(spec.metric, spec.limits)
    bound, limit = spec.comparison
    relation, shift = ("≥", limit) if bound == "above_controls_by" else ("≤", -limit)
    if not shift:
        return f"{relation} control"
    sign = "+" if shift > 0 else "−"
    return f"{relation} control {sign} {number(spec.metric, abs(shift))}"
