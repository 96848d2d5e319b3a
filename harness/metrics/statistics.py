"""Intervals, paired tests, corrections and ranks: what stands behind every +- and every bold number."""

from __future__ import annotations

import math
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
