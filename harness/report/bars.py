"""Bars: numbers that a suite expects, judged by their intervals, without a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.cells.results import Results
from harness.report.derived import with_derived
from harness.report.findings import Finding, Outcome
from harness.report.formats import captions, is_percent, metric_name
from harness.report.judged import OwnNumber, Verdict, limits_text, number_text, own_number
from harness.suite.specs.expect import ExpectSpec

OUTCOMES: dict[Verdict, Outcome] = {
    "holds": "holds",
    "fails": "fails",
    "open": "undecided",
    "not measured": "missing",
    "not trusted": "untrusted",
}
"""How the gate calls the verdicts that claims have."""


def name_of(spec: ExpectSpec) -> str:
    """Learner, number and bar in words: ``"mine: robust, worst, eps 0.1, ≥ 50.0 %"``."""
    return f"{spec.learner}: {_where(spec)}"


def judge(
    results: Results,
    specs: Sequence[ExpectSpec],
    failures: Mapping[tuple[str, str], str],
    *,
    undecided_fails: bool = False,
) -> list[Finding]:
    """Judge every bar of a suite.

    Args:
        results: What was measured.
        specs: The bars.
        failures: (learner, protocol) -> why its cells failed.
        undecided_fails: Whether a bar fails whose interval lies on both of its sides.
    """
    results = with_derived(results)
    return [_finding(results, spec, failures, undecided_fails) for spec in specs]


def _finding(
    results: Results,
    spec: ExpectSpec,
    failures: Mapping[tuple[str, str], str],
    undecided_fails: bool,
) -> Finding:
    own = own_number(results, spec, spec.learner)
    outcome = OUTCOMES[own.verdict(spec.limits)]
    passes = outcome == "holds" or (outcome == "undecided" and not undecided_fails)
    return Finding(
        learner=spec.learner,
        where=_where(spec),
        metric=spec.metric,
        outcome=outcome,
        said=_said(spec, own, outcome, failures.get((spec.learner, spec.protocol))),
        value=own.estimate.mean if own.estimate else None,
        value_low=own.estimate.low if own.estimate else None,
        value_high=own.estimate.high if own.estimate else None,
        bar=_bar(spec),
        fails=not passes,
        notes=own.notes,
    )


def _said(spec: ExpectSpec, own: OwnNumber, outcome: Outcome, failure: str | None) -> str:
    """The number, and why it decides as it does."""
    if own.estimate is None:
        return f"its cell failed: {failure}" if failure else "not measured"
    estimate = own.estimate
    value = number_text(spec.metric, estimate.mean, estimate.low, estimate.high)
    plural = "" if len(own.records) == 1 else "s"
    said = f"{value}{_unit(spec.metric)}, {len(own.records)} seed{plural}"
    if outcome == "untrusted":
        return f"{said}; a trust check fails (see `harness trust`)"
    if outcome == "undecided":
        return f"{said}; the interval is on both sides of the bar: more images or seeds would tell"
    return said


def _where(spec: ExpectSpec) -> str:
    """Everything but the learner, in words."""
    texts = captions(tuple(spec.setting), tuple(spec.setting.values()))
    metric = "" if spec.metric == "accuracy" else metric_name(spec.metric)
    return ", ".join(filter(None, [spec.protocol, *texts, metric, _bar(spec)]))


def _bar(spec: ExpectSpec) -> str:
    return limits_text(spec.metric, spec.limits) + _unit(spec.metric)


def _unit(metric: str) -> str:
    return " %" if is_percent(metric) else ""
