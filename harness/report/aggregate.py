"""The records of several seeds as one number with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.statistics import hierarchical_bootstrap, t_interval
from harness.records import CROSSED, Record
from harness.report.formats import is_nominal
from harness.rng import Rng

MANY_SEEDS = 5
"""Fewest seeds for a bootstrap over seeds.

By simulation, a bootstrap interval covers 75 % at 2 seeds and 85 % at 3. At 5 it is still too
narrow where seeds differ more than units do. So a t interval over the seeds' values is always
computed, and the wider of the two is used.
"""

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

    One seed keeps the interval that it was measured with (Wilson over samples, t over
    episodes). Several seeds have a t interval over the seeds' values, or a hierarchical
    bootstrap over seeds and units if that is available and wider. The interval is never
    narrower than that of a single seed on average: equal seeds do not make the units certain.

    Args:
        seeds: Records, one per seed.
        verdicts: Reads the stored units.
    """
    if len(seeds) == 1:
        return Aggregate(seeds[0].value, seeds[0].low, seeds[0].high)
    values = [record.value for record in seeds]
    if is_nominal(seeds[0].metric):
        # Names have no mean: half of one and half of another is not a third.
        agreed = values[0] if len(set(values)) == 1 else math.nan
        return Aggregate(agreed, None, None)
    value = float(np.mean(values))
    low, high = t_interval(values)
    if is_bootstrapped(seeds):
        units = [units_of(record, verdicts) for record in seeds]
        drawn_low, drawn_high, _ = bootstrap(units, seeds[0])
        low, high = wider((low, high), (drawn_low, drawn_high))
    return _at_least_one_seeds(seeds, Aggregate(value, low, high))


def _at_least_one_seeds(seeds: Sequence[Record], mean: Aggregate) -> Aggregate:
    """Widen an interval to that of a single seed on average; shares stay within [0, 1]."""
    lows = [record.low for record in seeds if record.low is not None]
    highs = [record.high for record in seeds if record.high is not None]
    if len(lows) < len(seeds) or len(highs) < len(seeds):
        return mean
    single = (float(np.mean(lows)), float(np.mean(highs)))
    low, high = wider((mean.low, mean.high), single)
    is_share = all(bound >= 0 for bound in lows) and all(bound <= 1 for bound in highs)
    if is_share:
        low, high = max(low, 0.0), min(high, 1.0)
    return Aggregate(mean.value, low, high)


def wider(
    interval: tuple[float | None, float | None], other: tuple[float, float]
) -> tuple[float, float]:
    """The smallest interval that holds both; ``other`` if the first is not defined.

    >>> wider((0.4, 0.6), (0.5, 0.7))
    (0.4, 0.7)
    """
    low, high = interval
    if low is None or high is None:
        return other
    return min(low, other[0]), max(high, other[1])


def is_bootstrapped(seeds: Sequence[Record]) -> bool:
    """Whether a bootstrap over ``seeds`` is available: enough of them, with stored units."""
    return len(seeds) >= MANY_SEEDS and all(record.verdicts is not None for record in seeds)


def units_of(record: Record, verdicts: Verdicts) -> np.ndarray:
    """The stored units of a record, float64 (n,).

    Raises:
        ValueError: The record has no stored units.
    """
    if record.verdicts is None:
        raise ValueError(f"{record.metric} of {record.learner} has no stored units")
    return np.asarray(verdicts(record.cell, record.verdicts), np.float64)


def bootstrap(units: list[np.ndarray], like: Record) -> tuple[float, float, float]:
    """95 % interval and p of a mean over seeds and units.

    Args:
        units: One array (n,) per seed.
        like: A record of this number; its unit says whether units are crossed with seeds.

    Returns:
        Lower bound, upper bound, and the two-sided p that the mean is zero.
    """
    generator = Rng(0).numpy("report bootstrap")
    return hierarchical_bootstrap(units, generator, crossed=is_crossed(units, like))


def is_crossed(units: Sequence[np.ndarray], like: Record) -> bool:
    """Whether every seed has the same units. Test images are shared, episodes usually are not."""
    return like.unit in CROSSED and len({array.shape for array in units}) == 1
