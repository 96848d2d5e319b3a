"""Intervals, paired tests and corrections: what stands behind every +- and every bold number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 4000
"""Bootstrap draws: the 2.5 % quantile then rests on 100 of them."""


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of ``n`` independent trials (Wilson 1927, score interval without continuity correction).

    >>> tuple(round(x, 4) for x in wilson(8, 10))
    (0.4902, 0.9433)

    Raises:
        ValueError: ``n`` is not positive, or ``successes`` is outside 0 .. n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, shrink = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    # At the ends the formula gives exactly 0 and 1; rounding must not push it past them or past the share itself.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float] | tuple[None, None]:
    """Student's t interval of the mean of ``values`` (n,); ``(None, None)`` where one value defines none.

    It is not cut to [0, 1]: near the ceiling an interval past 1 says that the normal approximation is strained.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return None, None
    mean, half = float(values.mean()), _t_half_width(values, level)
    return mean - half, mean + half


def _t_half_width(values: np.ndarray, level: float) -> float:
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, 0.5 + level / 2) * values.std(ddof=1) / math.sqrt(n))


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p that two classifiers err equally often on the same samples (McNemar 1947, exact binomial form).

    Args:
        a, b: bool or 0/1 (n,), correct or not, in the same order of samples.
    """
    a, b = _paired(a, b)
    from scipy.special import bdtr

    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    if only_a == only_b:
        return 1.0
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_t(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float, float]:
    """Mean of ``a - b`` over pairs, its interval, and the two-sided p that it is zero.

    Args:
        a, b: (n,) with n >= 2, in the same order of units (episodes).

    Returns:
        difference, low, high, p. Differences without any spread give p = 1 if they are zero, else 0.
    """
    a, b = _paired(a, b)
    if len(a) < 2:
        raise ValueError("a paired t test needs two pairs")
    from scipy.special import stdtr

    gap = a - b
    mean, half = float(gap.mean()), _t_half_width(gap, level)
    error = float(gap.std(ddof=1) / math.sqrt(len(gap)))
    if error == 0:
        return mean, mean, mean, float(mean == 0)
    return mean, mean - half, mean + half, 2.0 * float(stdtr(len(gap) - 1, -abs(mean) / error))


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"not pairs: shapes {a.shape} and {b.shape}")
    return a, b


def bootstrap_means(
    values: Sequence[ArrayLike],
    generator: np.random.Generator,
    *,
    crossed: bool,
    draws: int = DRAWS,
) -> np.ndarray:
    """Means over resampled seeds and, within them, resampled units.

    A resampled set of units is drawn as counts over the *distinct* values, which has the same distribution as drawing
    the units one by one and costs nothing for verdicts, however many there are.

    Args:
        values: one (n,) array a seed.
        generator: source of the draws.
        crossed: True where column i is the same unit in every seed (test images): one resample of columns then serves
            all seeds. False where each seed has units of its own (its episodes).

    Returns:
        float (draws,).
    """
    seeds = [np.asarray(v, np.float64) for v in values]
    return (_crossed if crossed else _nested)(seeds, generator, draws)


def _crossed(seeds: list[np.ndarray], generator: np.random.Generator, draws: int) -> np.ndarray:
    columns, counts = np.unique(np.stack(seeds), axis=1, return_counts=True)
    n, means = counts.sum(), []
    for start in range(0, draws, 500):  # in chunks: (draws, distinct columns) can be large
        size = min(500, draws - start)
        weight_of_seed = generator.multinomial(
            len(seeds), np.full(len(seeds), 1 / len(seeds)), size=size
        ) / len(seeds)
        weight_of_column = generator.multinomial(n, counts / n, size=size) / n
        means.append(
            np.einsum("ds,sc,dc->d", weight_of_seed, columns, weight_of_column, optimize=True)
        )
    return np.concatenate(means)


def _nested(seeds: list[np.ndarray], generator: np.random.Generator, draws: int) -> np.ndarray:
    chosen = generator.integers(len(seeds), size=(draws, len(seeds)))
    means = np.empty(chosen.shape)
    for seed, values in enumerate(seeds):
        distinct, counts = np.unique(values, return_counts=True)
        times = int(np.sum(chosen == seed))
        drawn = generator.multinomial(len(values), counts / len(values), size=times)
        means[chosen == seed] = drawn @ distinct / len(values)
    return means.mean(axis=1)


def hierarchical_bootstrap(
    values: Sequence[ArrayLike],
    generator: np.random.Generator,
    *,
    crossed: bool,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Percentile interval of the mean over seeds and units, and the two-sided p that the mean is zero.

    A bootstrap over S seeds underestimates the variance between seeds by the factor (S - 1) / S; with two or three
    seeds the interval is therefore too narrow, and a table that has so few says so.

    Args:
        values, generator, crossed: as for ``bootstrap_means``.

    Returns:
        low, high, p. p is never below 2 / (draws + 1).
    """
    means = bootstrap_means(values, generator, crossed=crossed)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    tail = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    return float(low), float(high), min(1.0, 2.0 * (tail + 1) / (len(means) + 1))


def holm(pvalues: ArrayLike) -> np.ndarray:
    """P values corrected for their number (Holm 1979, step-down): reject those that are still <= the level.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(pvalues, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def ranks_with_ties(scores: ArrayLike, alike: Callable[[int, list[int]], list[int]]) -> np.ndarray:
    """Rank of each score, 1 the best, where those that cannot be told from the best of a group share their mean rank.

    The best is taken with all that are alike to it; then the best of what is left, and so on (as Triantafillou et al. 2020,
    arXiv 1903.03096, rank; the test is the caller's).

    Args:
        scores: (n,), higher is better.
        alike: (i, rest) -> which of ``rest`` are not significantly worse than i.

    >>> ranks_with_ties([0.9, 0.5, 0.8, 0.4], lambda i, rest: [j for j in rest if j == 2]).tolist()
    [1.5, 3.0, 1.5, 4.0]
    """
    scores = np.asarray(scores, np.float64)
    left, ranks, done = (
        sorted(range(len(scores)), key=lambda i: -scores[i]),
        np.empty(len(scores)),
        0,
    )
    while left:
        best, *rest = left
        equal = [i for i in rest if scores[i] == scores[best]]
        group = [
            best,
            *equal,
            *(i for i in alike(best, [i for i in rest if i not in equal]) if i not in equal),
        ]
        ranks[group] = done + (len(group) + 1) / 2
        done += len(group)
        left = [i for i in left if i not in group]
    return ranks


def detectable_difference(n: int, spread: float, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true mean difference that a paired test over ``n`` units finds with probability ``power``.

    Args:
        n: units, e.g. episodes.
        spread: standard deviation of a unit's difference.
    """
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + level / 2) + normal.inv_cdf(power)) * spread / math.sqrt(n)


def detectable_accuracy_difference(
    n: int, disagreement: float = 0.1, level: float = 0.95, power: float = 0.8
) -> float:
    """The same for accuracies on ``n`` samples, a share ``disagreement`` of which just one of the two gets right.

    The difference of two verdicts is -1, 0 or 1, so its variance is at most that share.
    """
    return detectable_difference(n, math.sqrt(disagreement), level, power)


def paired_shares(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Difference of two shares on the same samples and its interval, sound where few samples differ or none does.

    Adds one to each of the two counts of samples that only one gets right (Bonett & Price 2012, adjusted Wald).

    Args:
        a, b: bool or 0/1 (n,), in the same order of samples.

    Returns:
        mean of a - b, low, high. The interval need not be centred on the mean.
    """
    a, b = _paired(a, b)
    n, only_a, only_b = len(a), float(np.sum(a > b)), float(np.sum(b > a))
    up, down = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(
        (up + down - (up - down) ** 2) / (n + 2)
    )
    return (only_a - only_b) / n, up - down - half, up - down + half


def welch(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float, float]:
    """Difference of the means of two samples of unequal spread (Welch 1947): ``a - b``, low, high, two-sided p.

    Args:
        a, b: (m,) and (n,), each of two values or more. Samples without any spread give p = 1 if they are equal, else 0.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        raise ValueError("Welch's test needs two values a side")
    from scipy.special import stdtr, stdtrit

    of_a, of_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    difference, error = float(a.mean() - b.mean()), math.sqrt(of_a + of_b)
    if error == 0:
        return difference, difference, difference, float(difference == 0)
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return (
        difference,
        difference - half,
        difference + half,
        2.0 * float(stdtr(freedom, -abs(difference) / error)),
    )


def units_needed(spread: float, difference: float, level: float = 0.95, power: float = 0.8) -> int:
    """How many units a paired test needs to find a true mean difference with probability ``power``.

    >>> units_needed(0.1, 0.02)
    197
    """
    normal = NormalDist()
    return math.ceil(
        ((normal.inv_cdf(0.5 + level / 2) + normal.inv_cdf(power)) * spread / difference) ** 2
    )
