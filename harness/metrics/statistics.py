"""Intervals of one sample, corrections for many tests, and ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike


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
    """Student's t interval of a mean of any numbers. Means of shares have ``share_interval``.

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


def share_interval(
    values: ArrayLike, level: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """Interval of a mean of units that are within [0, 1], such as accuracies of episodes.

    It is Student's t interval bent to stay within [0, 1] (see ``score_bounds``). With hundreds of
    episodes the two agree to a hundredth of a point.

    >>> [round(x, 3) for x in share_interval([0.7, 0.8])], t_interval([0.7, 0.8])[1] > 1
    ([0.183, 0.976], True)
    >>> [round(x, 3) for x in share_interval([1.0, 1.0, 1.0])]
    [0.139, 1.0]

    Args:
        values: (n,).
        level: confidence level.

    Returns:
        low, high; ``(None, None)`` for a single value.
    """
    units = np.asarray(values, np.float64)
    if len(units) < 2:
        return None, None
    return score_bounds(float(units.mean()), _t_half_width(units, level), len(units), level)


def interval_over_streams(
    values: ArrayLike, lowest: float = 0.0, level: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """Student's t interval over orders of a stream, cut off at what is possible.

    Equal values have an interval without width: a learner that does not depend on the order of its
    tasks has the same number on all others too.

    >>> interval_over_streams([0.75, 0.75]), interval_over_streams([0.9, 1.0])[1]
    ((0.75, 0.75), 1.0)

    Args:
        values: (n,).
        lowest: 0 for shares, -1 for differences of shares.
        level: confidence level.
    """
    low, high = t_interval(values, level)
    if low is None or high is None:
        return None, None
    return max(lowest, low), min(1.0, high)


def score_bounds(mean: float, half: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Bend an interval ``mean`` +- ``half`` so that it stays within [0, 1].

    Wilson's formula (1927) depends on the sample only through the mean and z^2 / n, which is the
    squared half width over mean (1 - mean). Inserting the half width of any interval of a share
    gives its score interval: that of an effective sample size, as for clustered samples (Korn &
    Graubard 1998, Survey Methodology 24).

    Units that are all equal have no spread to use. They count as ``n`` single verdicts, the widest
    spread that units of this mean can have. So no interval has zero width.

    Args:
        mean: within [0, 1].
        half: half the width of the symmetric interval.
        n: independent units, at least 2.
        level: confidence level.

    Returns:
        low, high; they hold the mean.
    """
    from scipy.special import stdtrit

    binomial = mean * (1 - mean)
    # The spread of equal units is zero, or what rounding made of it.
    if half > 1e-9 and binomial > 0:
        k = half**2 / binomial
    else:
        k = float(stdtrit(n - 1, 0.5 + level / 2)) ** 2 / n
    centre = (mean + k / 2) / (1 + k)
    reach = math.sqrt(k * binomial + k**2 / 4) / (1 + k)
    low = min(mean, max(0.0, centre - reach))
    high = max(mean, min(1.0, centre + reach))
    return low, high


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
        tied = alike(best, rest)
        group = [best, *equal, *(i for i in tied if i not in equal)]
        # The mean of the ranks that the group takes.
        ranks[group] = n_ranked + (len(group) + 1) / 2
        n_ranked += len(group)
        left = [i for i in left if i not in group]
    return ranks


def shown_worse(pvalues: ArrayLike, level: float = 0.05) -> np.ndarray:
    """Which candidates are shown to be worse than the one that was observed to be the best.

    With probability 1 - ``level``, no candidate that truly equals the best is among them. The
    observed best is chosen by the same data, so each of k candidates may be compared with any of
    k - 1 others, and a one-sided error may happen in any of these comparisons (Bonferroni; the
    goal is that of Hsu's multiple comparisons with the best, 1981). It is a step-down procedure:
    once r candidates are left, r (k - 1) comparisons can still go wrong, and a two-sided p has to
    be at most 2 ``level`` / (r (k - 1)).

    >>> shown_worse([0.03]).tolist(), shown_worse([0.012, 0.03]).tolist()
    ([True], [True, False])

    Args:
        pvalues: (k - 1,) two-sided p values of the difference from the observed best.
        level: probability of at least one error.

    Returns:
        bool (k - 1,), in the order of ``pvalues``.
    """
    p = np.asarray(pvalues, np.float64)
    candidates = len(p) + 1
    worse = np.zeros(len(p), bool)
    left = candidates
    for place in np.argsort(p, kind="stable"):
        if p[place] > 2 * level / (left * (candidates - 1)):
            break
        worse[place] = True
        left -= 1
    return worse
