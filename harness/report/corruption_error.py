"""mCE: the errors on corrupted images relative to those of a reference learner.

Hendrycks & Dietterich 2019 (Benchmarking neural network robustness to common corruptions): for
each kind, the sum of the errors over severities divided by that of the reference; then the mean
over kinds. Their reference is AlexNet; here it is a learner of the suite, which has 100 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.cells.results import Results
from harness.metrics.statistics import t_interval
from harness.protocols.corruption import CLEAN, MEAN
from harness.protocols.corruption_benchmark import REFERENCE
from harness.records import Record

METRIC = "mce"

Kinds = dict[str, Record]
"""Corruption -> accuracy under it, over all severities."""


def with_corruption_error(results: Results) -> Results:
    """Add ``mce`` to each protocol whose block names a reference learner."""
    if any(record.metric == METRIC for record in results.records):
        return results
    derived: list[Record] = []
    for protocol, block in results.blocks.items():
        if REFERENCE in block:
            derived += _derived(results, protocol, block[REFERENCE])
    return replace(results, records=results.records + derived) if derived else results


def _derived(results: Results, protocol: str, reference: str) -> list[Record]:
    """One record for each learner and seed that was measured on what the reference was."""
    by_learner: dict[tuple[str, int], Kinds] = defaultdict(dict)
    for record in results.records:
        kind = record.setting.get("corruption")
        is_summary = "severity" not in record.setting and kind not in (CLEAN, MEAN, None)
        if record.protocol == protocol and record.metric == "accuracy" and is_summary:
            by_learner[record.learner, record.seed][str(kind)] = record
    derived = []
    for (_, seed), own in by_learner.items():
        other = by_learner.get((reference, seed))
        if other is None or own.keys() != other.keys():
            continue
        errors = _errors(own, results)
        against = _errors(other, results)
        if all(units.any() for units in against.values()):
            derived.append(_record(own, *corruption_error(errors, against)))
    return derived


def _errors(kinds: Kinds, results: Results) -> dict[str, np.ndarray]:
    """Corruption -> error of each image, the mean over severities, float64 (N,)."""
    errors = {}
    for kind, record in kinds.items():
        assert record.verdicts is not None  # an accuracy has them
        errors[kind] = 1.0 - np.asarray(results.verdicts(record.cell, record.verdicts), np.float64)
    return errors


def corruption_error(
    errors: Mapping[str, np.ndarray], against: Mapping[str, np.ndarray]
) -> tuple[float, float | None, float | None]:
    """MCE with its 95 % interval over images, which both learners share.

    The interval is that of the linear part of the mean of ratios (delta method); None where that
    part has no spread.

    >>> half, quarter = np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 0])
    >>> corruption_error({"fog": quarter, "snow": half}, {"fog": half, "snow": half})[0]
    0.75

    Args:
        errors: kind -> (N,) of a learner.
        against: kind -> (N,) of the reference, none without an error.
    """
    ratios = []
    parts = []
    for kind, own in errors.items():
        reference = against[kind]
        ratio = own.mean() / reference.mean()
        ratios.append(ratio)
        parts.append((own - ratio * reference) / reference.mean())
    mean = float(np.mean(ratios))
    part = np.mean(parts, axis=0)
    if np.ptp(part) == 0:
        return mean, None, None
    low, high = t_interval(mean + part)
    return mean, None if low is None else max(low, 0.0), high


def _record(own: Kinds, value: float, low: float | None, high: float | None) -> Record:
    first = next(iter(own.values()))
    setting = {key: held for key, held in first.setting.items() if key != "corruption"}
    return replace(
        first,
        metric=METRIC,
        setting={**setting, "corruption": MEAN},
        value=value,
        low=low,
        high=high,
        unit="image",
        verdicts=None,
    )
