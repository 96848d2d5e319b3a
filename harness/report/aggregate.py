"""The records of several seeds as one number with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.catalogue import SHARES, SIGNED
from harness.metrics.means import Part, Spread, mean_gap, mean_share
from harness.metrics.statistics import score_bounds
from harness.records import CROSSED, Record
from harness.report.formats import is_bracket, is_nominal

Verdicts = Callable[[str, str], np.ndarray]
"""(cell, array name) -> the stored value of each unit, (n,)."""


@dataclass(frozen=True)
class Aggregate:
    """A mean over seeds with its 95 % interval; the bounds are None if no interval is defined."""

    value: float
    low: float | None
    high: float | None


def aggregate(seeds: Sequence[Record], verdicts: Verdicts) -> Aggregate:
    """Average one number over seeds.

    One seed keeps the interval that it was measured with. Several seeds have an interval over
    seeds and stored units (``harness.metrics.means``). Without stored units it is a t interval over
    the seeds' values, at least as wide as that of a single seed on average: equal seeds do not
    make the units certain.

    Args:
        seeds: Records, one per seed.
        verdicts: Reads the stored units.
    """
    first = seeds[0]
    if len(seeds) == 1:
        return Aggregate(first.value, first.low, first.high)
    values = [record.value for record in seeds]
    if is_nominal(first.metric):
        # Names have no mean: half of one and half of another is not a third.
        agreed = values[0] if len(set(values)) == 1 else math.nan
        return Aggregate(agreed, None, None)
    if is_bracket(first.metric):
        return _of_brackets(seeds)
    # A sum of equal values may round: a property that all seeds share would miss its own bound.
    value = values[0] if len(set(values)) == 1 else sum(values) / len(values)
    if has_units(seeds):
        units = [units_of(record, verdicts) for record in seeds]
        if first.metric in SIGNED:
            estimate = mean_gap(units, crossed=is_crossed(units, first))
            return Aggregate(value, estimate.low, estimate.high)
        return Aggregate(value, *mean_share(units, crossed=is_crossed(units, first)))
    return Aggregate(value, *_without_units(seeds, value))


def _of_brackets(seeds: Sequence[Record]) -> Aggregate:
    """The mean of each end: a mean over seeds is between the means of its bounds."""
    low = [record.low for record in seeds if record.low is not None]
    high = [record.high for record in seeds if record.high is not None]
    return Aggregate(float(np.mean(high)), float(np.mean(low)), float(np.mean(high)))


def _without_units(seeds: Sequence[Record], mean: float) -> tuple[float, float]:
    """A t interval over seeds, at least as wide as that of a single seed; shares stay shares.

    Where every seed has the same value and no interval, so has the mean: it is a property of the
    learner and not of a sample.
    """
    values = np.array([record.value for record in seeds])
    over_seeds = Part.of_mean(values)
    if over_seeds.is_flat:
        over_seeds = Part(0.0, over_seeds.freedom)
    half = max(Spread((over_seeds,)).half_width(), _half_of_one_seed(seeds))
    if seeds[0].metric in SHARES and half > 0:
        return score_bounds(mean, half, len(seeds))
    return mean - half, mean + half


def _half_of_one_seed(seeds: Sequence[Record]) -> float:
    """Half the width of a single seed's interval, on average; 0 if any of them has none."""
    widths = [
        record.high - record.low
        for record in seeds
        if record.low is not None and record.high is not None
    ]
    return sum(widths) / len(widths) / 2 if len(widths) == len(seeds) else 0.0


def has_units(seeds: Sequence[Record]) -> bool:
    """Whether the units of every seed are stored."""
    return all(record.verdicts is not None for record in seeds)


def units_of(record: Record, verdicts: Verdicts) -> np.ndarray:
    """The stored units of a record, float64 (n,).

    Raises:
        ValueError: The record has no stored units.
    """
    if record.verdicts is None:
        raise ValueError(f"{record.metric} of {record.learner} has no stored units")
    return np.asarray(verdicts(record.cell, record.verdicts), np.float64)


def is_crossed(units: Sequence[np.ndarray], like: Record) -> bool:
    """Whether every seed has the same units. Test images are shared, episodes usually are not."""
    return like.unit in CROSSED and len({array.shape for array in units}) == 1
