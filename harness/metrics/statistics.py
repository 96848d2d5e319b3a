"""Intervals, paired tests and corrections: the source of every +- and of every bold number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 4000
"""Bootstrap draws: the 2.5 % quantile then has 100 of them below it."""
CHUNK = 500
"""Crossed draws at a time: (draws, distinct columns) can be large."""


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of ``n`` independent trials.

    This is the score interval without continuity correction (Wilson 1927).

    >>> tuple(round(x, 4) for x in wilson(8, 10))
    (0.4902, 0.9433)

    Args:
        successes: successful trials.
        n: trials.
        level: confidence level.

    Returns:
        low, high.

    Raises:
        ValueError: If ``n`` is not positive, or ``successes`` is outside 0 .. n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    z = normal_quantile(level)
    share = successes / n
    shrink = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    # At shares of 0 and 1 the formula gives exactly 0 and 1. Rounding must not move a limit past
    # them, or past the share itself.
    low = min(share, max(0.0, centre - half))
    high = max(share, min(1.0, centre + half))
    return low, high


def normal_quantile(level: float) -> float:
    """Half the width of the central interval of a standard normal variable.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf(0.5 + level / 2)


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float] | tuple[None, None]:
    """Student's t interval of a mean.

    It is not cut to [0, 1]: a limit above 1 near the ceiling shows that the normal approximation is
    poor there.

    >>> t_interval([0.5])
    (None, None)

    Args:
        values: (n,).
        level: confidence level.

    Returns:
        low, high; ``(None, None)`` for a single value.
    """
    sample = np.asarray(values, np.float64)
    if len(sample) < 2:
        return None, None
    mean = float(sample.mean())
    half = _t_half_width(sample, level)
    return mean - half, mean + half


def _t_half_width(sample: np.ndarray, level: float) -> float:
    from scipy.special import stdtrit

    n = len(sample)
    return float(stdtrit(n - 1, 0.5 + level / 2) * sample.std(ddof=1) / math.sqrt(n))


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p that two classifiers err equally often on the same samples.

    This is McNemar's test (1947) in its exact binomial form: of the samples that only one of them
    gets right, each is as likely to be one's as the other's.

    >>> mcnemar_exact([1, 1, 1, 1], [0, 0, 0, 0])
    0.125

    Args:
        a: bool or 0/1 (n,), whether the first is correct.
        b: the same of the second, in the same order of samples.
    """
    from scipy.special import bdtr

    first, second = _paired(a, b)
    only_a = int(np.sum(first > second))
    only_b = int(np.sum(second > first))
    if only_a == only_b:
        return 1.0
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_t(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float, float]:
    """Student's paired t test of two means.

    >>> paired_t([1, 2, 3], [1, 2, 3])
    (0.0, 0.0, 0.0, 1.0)

    Args:
        a: (n,) with n >= 2.
        b: (n,), in the same order of units (episodes).
        level: confidence level.

    Returns:
        Mean of ``a - b``, its interval (low, high), and the two-sided p that it is zero. If all
        differences are equal, p is 1 if they are zero and 0 otherwise.

    Raises:
        ValueError: If there are fewer than two pairs, or the shapes differ.
    """
    from scipy.special import stdtr

    first, second = _paired(a, b)
    n = len(first)
    if n < 2:
        raise ValueError("a paired t test needs two pairs")
    gap = first - second
    mean = float(gap.mean())
    half = _t_half_width(gap, level)
    error = float(gap.std(ddof=1) / math.sqrt(n))
    if error == 0:
        return mean, mean, mean, float(mean == 0)
    p = 2.0 * float(stdtr(n - 1, -abs(mean) / error))
    return mean, mean - half, mean + half, p


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first = np.asarray(a, np.float64)
    second = np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"not pairs: shapes {first.shape} and {second.shape}")
    return first, second


def bootstrap_means(
    values: Sequence[ArrayLike],
    generator: np.random.Generator,
    *,
    crossed: bool,
    draws: int = DRAWS,
) -> np.ndarray:
    """Means over resampled seeds and, within them, resampled units.

    A resampled set of units is drawn as counts of its *distinct* values. That has the same
    distribution as drawing units one by one, and its cost does not depend on how many verdicts
    there are.

    Args:
        values: one (n,) array per seed.
        generator: source of the draws.
        crossed: True if column i is the same unit in every seed (a test image): one resample of
            columns then serves all seeds. False if each seed has units of its own (its episodes).
        draws: number of means.

    Returns:
        float64 (draws,).
    """
    seeds = [np.asarray(of_seed, np.float64) for of_seed in values]
    if crossed:
        return _crossed_means(seeds, generator, draws)
    return _nested_means(seeds, generator, draws)


def _crossed_means(
    seeds: list[np.ndarray], generator: np.random.Generator, draws: int
) -> np.ndarray:
    n_seeds = len(seeds)
    even = np.full(n_seeds, 1 / n_seeds)
    columns, counts = np.unique(np.stack(seeds), axis=1, return_counts=True)
    n = counts.sum()
    means = []
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        seed_weights = generator.multinomial(n_seeds, even, size=size) / n_seeds
        column_weights = generator.multinomial(n, counts / n, size=size) / n
        means.append(np.einsum("ds,sc,dc->d", seed_weights, columns, column_weights, optimize=True))
    return np.concatenate(means)


def _nested_means(
    seeds: list[np.ndarray], generator: np.random.Generator, draws: int
) -> np.ndarray:
    chosen = generator.integers(len(seeds), size=(draws, len(seeds)))
    means = np.empty(chosen.shape)
    for seed, values in enumerate(seeds):
        n = len(values)
        is_chosen = chosen == seed
        times = int(np.sum(is_chosen))
        distinct, counts = np.unique(values, return_counts=True)
        resampled = generator.multinomial(n, counts / n, size=times)
        means[is_chosen] = resampled @ distinct / n
    return means.mean(axis=1)


def hierarchical_bootstrap(
    values: Sequence[ArrayLike],
    generator: np.random.Generator,
    *,
    crossed: bool,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Percentile interval of a mean over seeds and units, and the two-sided p that it is zero.

    A bootstrap over S seeds underestimates the variance between seeds by the factor (S - 1) / S.
    With two or three seeds the interval is too narrow, and tables with so few seeds say so.

    Args:
        values: as in ``bootstrap_means``.
        generator: source of the draws.
        crossed: as in ``bootstrap_means``.
        level: confidence level.

    Returns:
        low, high, p. With t means on the rarer side of zero (a mean of zero is on both sides),
        p = 2 (t + 1) / (draws + 1), at most 1. It is never below 2 / (draws + 1): so many draws
        cannot prove a smaller p.
    """
    means = bootstrap_means(values, generator, crossed=crossed)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    tail = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    p = min(1.0, 2.0 * (tail + 1) / (len(means) + 1))
    return float(low), float(high), p


def holm(pvalues: ArrayLike) -> np.ndarray:
    """Correct p values for their number (Holm 1979, step-down).

    Results whose corrected p is at most the level are significant. In ascending order, the i-th of
    n p values (from 0) is multiplied by n - i; none may then be smaller than one before it, or
    above 1.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Args:
        pvalues: (n,).

    Returns:
        float64 (n,), in the order of ``pvalues``.
    """
    p = np.asarray(pvalues, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def ranks_with_ties(scores: ArrayLike, alike: Callable[[int, list[int]], list[int]]) -> np.ndarray:
    """Rank scores, 1 the best; scores that do not differ significantly share their mean rank.

    The best score forms a group with all that are equal or not significantly worse. Then the best
    of the others does, and so on, as Triantafillou et al. 2020 (arXiv 1903.03096) rank. The test is
    the caller's.

    >>> ranks_with_ties([0.9, 0.5, 0.8, 0.4], lambda i, rest: [j for j in rest if j == 2]).tolist()
    [1.5, 3.0, 1.5, 4.0]

    Args:
        scores: (n,), higher is better.
        alike: called with (i, others); returns those of ``others`` that are not significantly worse
            than i.

    Returns:
        float64 (n,).
    """
    points = np.asarray(scores, np.float64)
    left = sorted(range(len(points)), key=lambda i: -points[i])
    ranks = np.empty(len(points))
    n_ranked = 0
    while left:
        best, *rest = left
        equal = [i for i in rest if points[i] == points[best]]
        tied = alike(best, [i for i in rest if i not in equal])
        group = [best, *equal, *(i for i in tied if i not in equal)]
        # The mean of the ranks that the group takes.
        ranks[group] = n_ranked + (len(group) + 1) / 2
        n_ranked += len(group)
        left = [i for i in left if i not in group]
    return ranks


def paired_shares(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Difference of two shares on the same samples, and its interval.

    One is added to both counts of samples that only one gets right (Bonett & Price 2012, adjusted
    Wald): the interval is then valid even if few samples differ or none does.

    >>> [round(x, 3) for x in paired_shares([1, 1, 1, 0], [1, 0, 0, 0])]
    [0.5, -0.263, 0.93]

    Args:
        a: bool or 0/1 (n,).
        b: bool or 0/1 (n,), in the same order of samples.
        level: confidence level.

    Returns:
        Mean of ``a - b``, low, high. The interval need not be centred on the mean.
    """
    first, second = _paired(a, b)
    n = len(first)
    only_a = float(np.sum(first > second))
    only_b = float(np.sum(second > first))
    up = (only_a + 1) / (n + 2)
    down = (only_b + 1) / (n + 2)
    error = math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    half = normal_quantile(level) * error
    return (only_a - only_b) / n, up - down - half, up - down + half


def welch(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float, float, float]:
    """Welch's test (1947) of the means of two independent samples of unequal spread.

    >>> welch([2, 2], [2, 2])
    (0.0, 0.0, 0.0, 1.0)

    Args:
        a: (m,) with m >= 2.
        b: (n,) with n >= 2.
        level: confidence level.

    Returns:
        Mean of ``a`` less that of ``b``, its interval (low, high), and the two-sided p that it is
        zero. If neither sample has any spread, p is 1 for equal means and 0 otherwise.

    Raises:
        ValueError: If a sample has fewer than two values.
    """
    from scipy.special import stdtr, stdtrit

    first = np.asarray(a, np.float64)
    second = np.asarray(b, np.float64)
    m = len(first)
    n = len(second)
    if min(m, n) < 2:
        raise ValueError("Welch's test needs two values a side")
    of_a = first.var(ddof=1) / m
    of_b = second.var(ddof=1) / n
    difference = float(first.mean() - second.mean())
    error = math.sqrt(of_a + of_b)
    if error == 0:
        return difference, difference, difference, float(difference == 0)
    # Welch and Satterthwaite's degrees of freedom.
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (m - 1) + of_b**2 / (n - 1))
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    p = 2.0 * float(stdtr(freedom, -abs(difference) / error))
    return difference, difference - half, difference + half, p
