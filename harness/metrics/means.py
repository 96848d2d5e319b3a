"""Means over seeds and units, and differences of such means: intervals and p in closed form.

A unit is an image or an episode. A mean has two sources of error: other seeds would have trained
other networks, and other units would have been easier or harder.

* *Crossed*: every seed has the same units (test images). How the seeds' means differ does not show
  how units vary, because all seeds share them. So two variances are added: that of the seeds' means
  and that of the units' means. The sum counts the interaction of seeds and units twice, which makes
  it an upper estimate (Owen 2007, arXiv 0712.1111, section 4).
* *Nested*: each seed has units of its own (episodes). The spread of the seeds' means then shows
  both sources, and an interval over seeds is exact. The interval over units is a floor for it.

A sum of variances has half the width sqrt(t_1^2 V_1 + t_2^2 V_2), where each quantile has the
degrees of freedom of its part (Banerjee 1960, Sankhya 22:357). For normal errors this covers the
truth with at least the stated probability, whatever the ratio of the variances is: given the
estimates, coverage is concave in the squared half width. Two seeds are enough to be right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from harness.metrics.statistics import score_bounds

LEAST_P = 1e-100
"""Smaller p values of several parts are given as this."""

TINY = 1e-300
"""A square of a quantile near the median, which may be 0."""

MOST_STEPS = 100
"""Steps of a search for a p; it takes about five."""

Seeds = list[np.ndarray]
ROUNDING = 1e-9
"""Units that differ by less are equal: real ones differ by a verdict in some thousands."""


@dataclass(frozen=True)
class Part:
    """One part of the variance of a mean, and the degrees of freedom of its estimate.

    The variance may be that of several means with the same number of values, (K,).
    """

    variance: Any
    freedom: float

    @classmethod
    def of_mean(cls, values: np.ndarray) -> Part:
        """The variance of the mean of (n,) independent values, n >= 2."""
        n = len(values)
        # Written out, because it is called for every number, and ``var`` is several times slower.
        off = values - values.sum() / n
        return cls(float(off @ off) / (n * (n - 1)), n - 1)

    @property
    def is_flat(self) -> bool:
        """Whether the values are all equal, but for rounding."""
        return self.variance < ROUNDING**2


@dataclass(frozen=True)
class Spread:
    """How uncertain a mean is.

    Attributes:
        parts: Independent parts of its variance, which are added.
        floor: Parts whose interval is the least that the mean has.
    """

    parts: tuple[Part, ...]
    floor: tuple[Part, ...] = ()

    def half_width(self, level: float = 0.95) -> float:
        """Half the width of the interval of the mean."""
        tail = 0.5 - level / 2
        return max(_half_width(self.parts, tail), _half_width(self.floor, tail))

    def p(self, mean: ArrayLike) -> np.ndarray:
        """Two-sided p that true means (K,) are zero: the interval at level 1 - p ends at zero."""
        distances = np.abs(np.asarray(mean, np.float64).reshape(-1))
        ps = [_p(distances, parts) for parts in (self.parts, self.floor) if parts]
        return np.maximum.reduce(ps)


@dataclass(frozen=True)
class Estimate:
    """A mean difference.

    Attributes:
        mean: The difference.
        low, high: Its interval, which need not be centred on the mean.
        p: Two-sided p that it is zero. It is below 0.05 where a 95 % interval excludes zero.
    """

    mean: float
    low: float
    high: float
    p: float


# ---------------------------------------------------------------------------------- differences


def mean_gap(
    gaps: Sequence[ArrayLike],
    *,
    crossed: bool,
    verdicts: bool = False,
    exact: bool = False,
    fixed_seeds: bool = False,
    level: float = 0.95,
) -> Estimate:
    """The mean difference of two learners on the same seeds and units.

    Gaps of verdicts get two further units: only the first learner is right on one, only the second
    on the other. Without them an interval is too narrow where few units differ (Bonett & Price
    2012). The same two are added where all gaps are equal: a few units may not show a spread.

    >>> found = mean_gap([[1, 0, 0, 1, 0, 1, 0, 0]], crossed=True, verdicts=True)
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (0.375, -0.183, 0.783)

    Args:
        gaps: First minus second, (n,) per seed, each gap within [-1, 1].
        crossed: Whether unit i is the same in every seed; all seeds then have as many units.
        verdicts: Whether each unit is one verdict of right or wrong.
        exact: Whether equal gaps are certain instead.
        fixed_seeds: Whether the statement is about these seeds only, not about others.
        level: Confidence level.
    """
    seeds = [np.asarray(of_seed, np.float64) for of_seed in gaps]
    means = _means_of(seeds)
    centre, of_units = _over_units(seeds, crossed, verdicts, exact)
    if len(seeds) == 1 or fixed_seeds:
        spread = Spread((of_units,))
    elif crossed:
        spread = Spread((Part.of_mean(means), of_units))
    else:
        spread = Spread((Part.of_mean(means),), floor=(of_units,))
    return _estimate(float(means.mean()), centre, spread, level)


def _means_of(seeds: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of each seed, (S,)."""
    return np.array([of_seed.sum() / len(of_seed) for of_seed in seeds])


def _over_units(seeds: Seeds, crossed: bool, verdicts: bool, exact: bool) -> tuple[float, Part]:
    """Centre and variance of the mean over units, as if there were no other seeds."""
    if crossed or len(seeds) == 1:
        units = sum(seeds[1:], seeds[0]) / len(seeds)
    else:
        part = _within_seeds(seeds)
        if not part.is_flat:
            return float(_means_of(seeds).mean()), part
        units = np.concatenate(seeds)
    if not verdicts and len(units) > 1:
        part = Part.of_mean(units)
        if exact or not part.is_flat:
            return float(units.sum() / len(units)), part
    units = np.append(units, [1.0, -1.0])
    return float(units.sum() / len(units)), Part.of_mean(units)


def _within_seeds(seeds: Sequence[np.ndarray]) -> Part:
    """The variance of a mean over seeds that is due to the units of each."""
    variances = [Part.of_mean(of_seed).variance for of_seed in seeds if len(of_seed) > 1]
    freedom = sum(len(of_seed) - 1 for of_seed in seeds)
    return Part(sum(variances) / len(seeds) ** 2, max(1, freedom))


def gap_ps(gaps: np.ndarray, *, crossed: bool, verdicts: bool = False) -> np.ndarray:
    """The p of several mean differences, as ``mean_gap`` gives one after the other.

    >>> gaps = np.array([[[1, 0, 0, 1], [0, 1, 0, 1]]])
    >>> bool(np.isclose(gap_ps(gaps, crossed=True)[0], mean_gap(gaps[0], crossed=True).p))
    True

    Args:
        gaps: (K, S, n), of K pairs of learners on the same S seeds and n units.
        crossed: Whether unit i is the same in every seed.
        verdicts: Whether each unit is one verdict of right or wrong.
    """
    pairs, seeds, n = gaps.shape
    means = gaps.sum(2) / n
    units = gaps.sum(1) / seeds
    if verdicts:
        units = np.concatenate([units, np.tile([1.0, -1.0], (pairs, 1))], 1)
    if crossed or seeds == 1:
        centres = units.sum(1) / units.shape[1]
        of_units = _variances(units)
    else:
        centres = means.mean(1)
        of_units = Part(_variances(gaps).variance.sum(1) / seeds**2, max(1, seeds * (n - 1)))
    if seeds == 1:
        spread = Spread((of_units,))
    elif crossed:
        spread = Spread((_variances(means), of_units))
    else:
        spread = Spread((_variances(means),), floor=(of_units,))
    p = spread.p(centres)
    # Units that are all equal get two further ones, which are not worth an array.
    for pair in np.flatnonzero(of_units.variance < ROUNDING**2):
        p[pair] = mean_gap(list(gaps[pair]), crossed=crossed, verdicts=verdicts).p
    return p


def _variances(values: np.ndarray) -> Part:
    """``Part.of_mean`` along the last axis."""
    n = values.shape[-1]
    off = values - values.sum(-1, keepdims=True) / n
    return Part(np.einsum("...i,...i->...", off, off) / (n * (n - 1)), n - 1)


def mean_gap_of_seeds(gaps: ArrayLike, level: float = 0.95) -> Estimate:
    """The mean difference of two numbers without stored units, paired by seed.

    Args:
        gaps: (S,) with S >= 2.
        level: Confidence level.

    Raises:
        ValueError: If there are fewer than two seeds.
    """
    of_seeds = np.asarray(gaps, np.float64)
    if len(of_seeds) < 2:
        raise ValueError("one seed does not show how seeds differ")
    mean = float(of_seeds.mean())
    return _estimate(mean, mean, Spread((Part.of_mean(of_seeds),)), level, most=math.inf)


def unpaired_gap(
    a: ArrayLike, b: ArrayLike, unit_gaps: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """The difference of two means over different seeds: Welch's interval (1947) over seeds.

    >>> found = unpaired_gap([0.7, 0.8], [0.5, 0.6])
    >>> round(found.mean, 3), round(found.low, 3), round(found.p, 3)
    (0.2, -0.104, 0.106)

    Args:
        a: Number of each seed of the first, (m,) with m >= 2.
        b: Number of each seed of the second, (n,) with n >= 2.
        unit_gaps: Where both were measured on the same units, the difference on each, (units,).
        level: Confidence level.

    Raises:
        ValueError: If a side has fewer than two seeds.
    """
    first = np.asarray(a, np.float64)
    second = np.asarray(b, np.float64)
    if min(len(first), len(second)) < 2:
        raise ValueError("one seed a side does not show how seeds differ")
    parts = [_welch(Part.of_mean(first), Part.of_mean(second))]
    if unit_gaps is not None:
        parts.append(Part.of_mean(np.asarray(unit_gaps, np.float64)))
    mean = float(first.mean() - second.mean())
    return _estimate(mean, mean, Spread(tuple(parts)), level, most=math.inf)


def _welch(a: Part, b: Part) -> Part:
    """The variance of a difference of independent means, with Satterthwaite's freedom (1946)."""
    variance = a.variance + b.variance
    if variance == 0:
        return Part(0.0, min(a.freedom, b.freedom))
    squares = a.variance**2 / a.freedom + b.variance**2 / b.freedom
    return Part(variance, variance**2 / squares)


def _estimate(
    mean: float, centre: float, spread: Spread, level: float, most: float = 1.0
) -> Estimate:
    """An interval around ``centre``, within ``-most .. most``."""
    half = spread.half_width(level)
    low = max(-most, min(mean, centre - half))
    high = min(most, max(mean, centre + half))
    return Estimate(mean, low, high, float(spread.p(centre)[0]))


# --------------------------------------------------------------------------------------- shares


def mean_share(
    units: Sequence[ArrayLike], *, crossed: bool, level: float = 0.95
) -> tuple[float, float]:
    """Interval of one learner's mean over at least two seeds; within [0, 1].

    It is the score interval (``statistics.score_bounds``) with the half width above.

    >>> low, high = mean_share([[1, 1, 0, 1], [1, 0, 0, 1]], crossed=True)
    >>> round(low, 2), round(high, 2)
    (0.03, 0.99)

    Args:
        units: Values within [0, 1], (n,) per seed.
        crossed: Whether unit i is the same in every seed; all seeds then have as many units.
        level: Confidence level.
    """
    seeds = [np.asarray(of_seed, np.float64) for of_seed in units]
    means = _means_of(seeds)
    over_seeds = Part.of_mean(means)
    if crossed:
        n = len(seeds[0])
        of_units = sum(seeds[1:], seeds[0]) / len(seeds)
        parts = (over_seeds, Part.of_mean(of_units)) if n > 1 else (over_seeds,)
        spread = Spread(parts)
    else:
        n = sum(map(len, seeds))
        spread = Spread((over_seeds,), floor=(_within_seeds(seeds),))
    return score_bounds(float(means.mean()), spread.half_width(level), n, level)


# ------------------------------------------------------------------------------ sums of variances


def _half_width(parts: Sequence[Part], tail: float) -> float:
    squares = [_quantile(part.freedom, tail) ** 2 * part.variance for part in parts]
    return math.sqrt(sum(squares))


@lru_cache(maxsize=4096)
def _quantile(freedom: float, tail: float) -> float:
    """Quantile of Student's t at a probability."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, tail))


def _p(distances: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Two-sided p of means that are so far from zero, (K,)."""
    from scipy.special import stdtr

    variances = np.stack([np.broadcast_to(part.variance, distances.shape) for part in parts])
    freedoms = np.array([part.freedom for part in parts])
    varying = variances > 0
    # Without a variance, any distance is certain.
    p = np.where(distances == 0, 1.0, 0.0)
    one = (varying.sum(0) == 1) & (distances > 0)
    error = np.sqrt(variances.sum(0))
    of_one = freedoms[varying.argmax(0)]
    p[one] = 2 * stdtr(of_one[one], -distances[one] / error[one])
    several = (varying.sum(0) > 1) & (distances > 0)
    if several.any():
        p[several] = _p_of_sum(distances[several], variances[:, several], freedoms)
    return p


def _p_of_sum(distances: np.ndarray, variances: np.ndarray, freedoms: np.ndarray) -> np.ndarray:
    """The p at which intervals of several parts, (P, K), just reach zero."""
    from scipy.special import stdtr, stdtrit

    # It lies between the p values that the whole variance has with the most and the fewest degrees
    # of freedom of a part.
    t = distances / np.sqrt(variances.sum(0))
    wanted = 2 * np.log(distances)

    def excess(log_p: np.ndarray) -> np.ndarray:
        squares = stdtrit(freedoms[:, None], np.exp(log_p) / 2) ** 2
        total = (squares * variances).sum(0)
        return np.log(np.maximum(total, TINY)) - wanted

    # At 1, an interval has no width, and no logarithm.
    ends = (2 * stdtr(freedom, -t) for freedom in (freedoms.max(), freedoms.min()))
    low, high = (np.log(np.clip(end, LEAST_P, 1 - ROUNDING)) for end in ends)
    return np.exp(_root(excess, low, high))


def _root(
    decreasing: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Where a function falls through zero, by false position (Illinois); an end if it does not."""
    at_low = decreasing(low)
    at_high = decreasing(high)
    middle = np.where(at_low <= 0, low, high)
    searched = (at_low > 0) & (at_high < 0)
    side = np.zeros(low.shape)
    for _ in range(MOST_STEPS):
        if not searched.any():
            break
        steepness = np.where(searched, at_high - at_low, 1)
        middle = np.where(searched, high - at_high * (high - low) / steepness, middle)
        value = decreasing(middle)
        searched &= np.abs(value) >= ROUNDING
        above = value > 0
        # An end that stays twice is weighted less, else it would stay for ever.
        at_high = np.where(above, np.where(side == 1, at_high / 2, at_high), value)
        at_low = np.where(above, value, np.where(side == -1, at_low / 2, at_low))
        low = np.where(above, middle, low)
        high = np.where(above, high, middle)
        side = np.where(above, 1, -1)
    return middle
