"""Claims: hypotheses with the rule that decides them stated in the suite, before anything is measured.

A claim is a list of measures. Each measure is a number of one learner (or its difference from controls) and a bound; its
verdict follows from a 95 % interval, and the claim's verdict from those of its measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from harness.cells.results import Results
from harness.metrics.statistics import hierarchical_bootstrap, t_interval
from harness.records import CROSSED, Record
from harness.report.aggregate import MANY_SEEDS, aggregate
from harness.report.derive import with_worst_case
from harness.report.formats import label, metric_name, number
from harness.report.notes import matched
from harness.report.pivot import numbers_of
from harness.rng import Rng
from harness.suite.specs.claims import ClaimSpec, Comparable, MeasureSpec

Verdict = Literal["holds", "fails", "open", "not measured", "not trusted"]


@dataclass(frozen=True)
class Row:
    """One measure, decided.

    Attributes:
        claim, said: name of the claim, and what it says.
        measure, bound: in words.
        learner, value, low, high: whose number, its mean over seeds and 95 % interval.
        control: the control that comes closest to breaking the bound; its mean; "" and None without controls.
        difference, difference_low, difference_high: learner minus that control, paired by seed.
        seeds: how many.
        verdict: of the measure; ``claim_verdict``: of the whole claim.
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


RULES = (
    "A measure holds if its whole 95 % interval keeps the bound, fails if its whole interval breaks it, and is open in "
    "between; a number without spread is its own interval.",
    "Intervals: over seeds (t interval; where verdicts of single images or episodes are stored and there are at least "
    f"{MANY_SEEDS} seeds, the wider of it and a paired hierarchical bootstrap). A difference must keep its bound against every "
    "control, at a level divided by their number (Bonferroni); the control shown is the one that comes closest to breaking it.",
    "A claim is confirmed if all its measures hold, refuted if none holds and one fails, partly confirmed if some hold, "
    "else undecided. What a trust check failed cannot confirm anything.",
)


def decide(results: Results, claims: Sequence[ClaimSpec]) -> list[Row]:
    """Every claim's measures with their verdicts."""
    results = with_worst_case(results)
    return [row for claim in claims for row in _decided(results, claim)]


def _decided(results: Results, claim: ClaimSpec) -> list[Row]:
    rows = [_measure(results, claim, spec) for spec in claim.measures]
    verdict = overall([row.verdict for row in rows])
    return [Row(**{**asdict(row), "claim_verdict": verdict}) for row in rows]


def overall(verdicts: Sequence[Verdict]) -> str:
    """The verdict on a claim from those on its measures.

    >>> overall(["holds", "holds"]), overall(["holds", "fails"]), overall(["fails", "open"]), overall(["open"])
    ('confirmed', 'partly confirmed', 'refuted', 'undecided')
    """
    if all(v == "holds" for v in verdicts):
        return "confirmed"
    if any(v == "holds" for v in verdicts):
        return "partly confirmed"
    return "refuted" if "fails" in verdicts else "undecided"


def _measure(results: Results, claim: ClaimSpec, spec: MeasureSpec) -> Row:
    learner, (bound, limit) = spec.learner or claim.learner, spec.bound
    blank = Row(claim.name, claim.claim, _words(spec), _bound_words(spec), spec.metric, learner)
    own = _records(results, spec, learner)
    if not own:
        return blank
    mean = aggregate(own, results.verdicts)
    known = asdict(blank) | {
        "value": mean.value,
        "low": mean.low,
        "high": mean.high,
        "seeds": len(own),
    }
    lacking = _lacking(results, spec, {learner: own})
    if lacking:
        return Row(**known | {"notes": lacking})
    trusted = all(r.trust != "FAIL" for r in own)
    if bound in ("at_least", "at_most"):
        verdict = _verdict(mean.value, mean.low, mean.high, limit, bound == "at_least")
        return Row(**known | {"verdict": verdict if trusted else "not trusted"})
    return _compared(results, claim, spec, own, known, trusted)


def _compared(
    results: Results,
    claim: ClaimSpec,
    spec: MeasureSpec,
    own: list[Record],
    known: dict[str, Any],
    trusted: bool,
) -> Row:
    """The measure against the control that comes closest to breaking it."""
    limit, sign = spec.bound[1], 1 if spec.bound[0] == "above_controls_by" else -1
    rivals, left_out = _rivals(results, claim, spec, known["learner"])
    notes = tuple(f"{claim.name}: {name} left out, {why}" for name, why in left_out.items())
    found = {name: records for name in rivals if (records := _records(results, spec, name))}
    if len(found) < len(rivals) or not rivals:
        missing = sorted(set(rivals) - set(found)) or ["any comparable control"]
        return Row(
            **known | {"notes": (*notes, f"{claim.name}: no number of {', '.join(missing)}")}
        )
    lacking = _lacking(results, spec, found)
    if lacking:
        return Row(**known | {"notes": (*notes, *lacking)})
    level = 1 - 0.05 / len(found)
    differences = {
        name: _difference(own, records, results, level) for name, records in found.items()
    }
    # The bound must be kept by the interval's unfavourable end.
    closest = min(differences, key=lambda name: _unfavourable(differences[name], sign))
    mean, low, high = differences[closest]
    verdicts = [
        _verdict(sign * d, *sorted_ends(sign, lo, hi), limit, True)
        for d, lo, hi in differences.values()
    ]
    verdict = (
        "holds"
        if all(v == "holds" for v in verdicts)
        else "fails"
        if "fails" in verdicts
        else "open"
    )
    notes += tuple(matched(results, spec.protocol, found))
    for name in (
        name for name, records in found.items() if any(r.trust == "FAIL" for r in records)
    ):
        trusted, notes = False, (*notes, f"{claim.name}: a trust check failed on {name}")
    return Row(
        **known
        | {
            "control": closest,
            "control_value": float(np.mean([r.value for r in found[closest]])),
            "difference": mean,
            "difference_low": low,
            "difference_high": high,
            "notes": notes,
            "verdict": verdict if trusted else "not trusted",
        }
    )


def _lacking(
    results: Results, spec: MeasureSpec, found: dict[str, list[Record]]
) -> tuple[str, ...]:
    """Whose number is over other seeds than planned: a claim is not decided by the seeds that happened to come through."""
    planned = sorted(results.seeds.get(spec.protocol, []))
    return tuple(
        f"{name} has {metric_name(spec.metric)} in {spec.protocol} for seeds {', '.join(map(str, seeds))} only, of "
        f"{', '.join(map(str, planned))}"
        for name, records in found.items()
        if planned and (seeds := [r.seed for r in records]) != planned
    )


def sorted_ends(
    sign: int, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """Both ends of an interval after multiplication by ``sign``."""
    if low is None or high is None:
        return None, None
    return (low, high) if sign > 0 else (-high, -low)


def _unfavourable(difference: tuple[float, float | None, float | None], sign: int) -> float:
    mean, low, high = difference
    end = low if sign > 0 else high
    return sign * (mean if end is None else end)


def _verdict(
    value: float, low: float | None, high: float | None, limit: float, above: bool
) -> Verdict:
    low, high = (value, value) if low is None or high is None else (low, high)
    if not above:
        value, low, high, limit = -value, -high, -low, -limit
    return "holds" if low >= limit else "fails" if high < limit else "open"


def _difference(
    own: list[Record], other: list[Record], results: Results, level: float
) -> tuple[float, float | None, float | None]:
    """Mean difference over shared seeds, with its interval at ``level``."""
    mine, theirs = {r.seed: r for r in own}, {r.seed: r for r in other}
    pairs = [(mine[seed], theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())]
    gaps = [a.value - b.value for a, b in pairs]
    low, high = t_interval(gaps, level)
    units = _paired_units(pairs, results)
    if units and len(pairs) >= MANY_SEEDS and low is not None and high is not None:
        crossed = pairs[0][0].unit in CROSSED
        drawn = hierarchical_bootstrap(
            units, Rng(0).numpy("claims bootstrap"), crossed=crossed, level=level
        )
        low, high = min(low, drawn[0]), max(high, drawn[1])
    elif units and low is None:
        low, high = t_interval(units[0], level)
    return float(np.mean(gaps)) if gaps else float("nan"), low, high


def _paired_units(pairs: list[tuple[Record, Record]], results: Results) -> list[np.ndarray]:
    """Per-unit differences of each seed; none where units are not stored or not the same."""
    out = []
    for a, b in pairs:
        if a.verdicts is None or b.verdicts is None:
            return []
        x, y = (np.asarray(results.verdicts(r.cell, r.verdicts), np.float64) for r in (a, b))
        if x.shape != y.shape:
            return []
        out.append(x - y)
    return out


def _rivals(
    results: Results, claim: ClaimSpec, spec: MeasureSpec, learner: str
) -> tuple[list[str], dict[str, str]]:
    """Controls that count, and why others do not."""
    controls, rule = spec.controls or claim.controls, claim.comparable
    if rule is None:
        return list(controls), {}
    own = _mean(results, rule, learner)
    kept, out = [], {}
    for name in controls:
        theirs = _mean(results, rule, name)
        if own is not None and theirs is not None and abs(theirs - own) > rule.within:
            out[name] = (
                f"its {rule.metric} in {rule.protocol} is {number(rule.metric, theirs)}, not within "
                f"{number(rule.metric, rule.within)} of {number(rule.metric, own)}"
            )
        else:  # one that nobody has compared yet counts too: leaving it out would favour the learner
            kept.append(name)
    return kept, out


def _mean(results: Results, rule: Comparable, learner: str) -> float | None:
    found = _records(results, rule, learner)
    return float(np.mean([r.value for r in found])) if found else None


def _records(results: Results, spec: MeasureSpec | Comparable, learner: str) -> list[Record]:
    return numbers_of(results, spec.protocol, spec.metric, spec.setting, learner)


def _words(spec: MeasureSpec) -> str:
    setting = " ".join(filter(None, (label(k, v) for k, v in spec.setting.items())))
    return " ".join(
        filter(
            None, [metric_name(spec.metric), f"({spec.protocol}{', ' if setting else ''}{setting})"]
        )
    )


def _bound_words(spec: MeasureSpec) -> str:
    name, limit = spec.bound
    if name in ("at_least", "at_most"):
        return f"{'≥' if name == 'at_least' else '≤'} {number(spec.metric, limit)}"
    sign, shift = ("≥", limit) if name == "above_controls_by" else ("≤", -limit)
    return f"{sign} control" + (
        f" {'+' if shift > 0 else '−'} {number(spec.metric, abs(shift))}" if shift else ""
    )


def cells(row: Row) -> list[str]:
    """What a printed line shows of a row, under ``HEADS``."""
    return [
        row.claim,
        row.measure,
        row.bound,
        row.learner,
        _number(row.metric, row.value, row.low, row.high),
        row.control and f"{row.control}: {_number(row.metric, row.control_value)}",
        _number(row.metric, row.difference, row.difference_low, row.difference_high),
        row.verdict,
        row.claim_verdict,
    ]


HEADS = (
    "claim",
    "measure",
    "bound",
    "learner",
    "its number",
    "closest control",
    "difference",
    "measure’s verdict",
    "claim’s verdict",
)


def _number(
    metric: str, value: float | None, low: float | None = None, high: float | None = None
) -> str:
    if value is None:
        return ""
    ends = (
        ""
        if low is None or high is None or low == high
        else f" [{number(metric, low)}, {number(metric, high)}]"
    )
    return number(metric, value) + ends


def notes(rows: Sequence[Row], claims: Sequence[ClaimSpec]) -> Iterator[str]:
    """What stands under the table: each claim's words, the rules, and who was left out."""
    for claim in claims:
        yield f"{claim.name}: “{claim.claim}”"
    yield from RULES
    yield from dict.fromkeys(note for row in rows for note in row.notes)
