"""Learners over many tasks: interquartile mean, performance profile, probability of improvement.

The definitions are those of Agarwal et al. 2021 (arXiv 2108.13264) and of their library rliable.
Scores are (R, T): of R runs (seeds) on each of T tasks; functions take any number of leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

CUT = 0.25
"""Share of the scores that an interquartile mean leaves out at each end."""

DRAWS = 2000
"""Draws of a bootstrap: the ends of its intervals then vary by some hundredths of their width."""

Statistic = Callable[..., np.ndarray]
"""Score matrices (..., R, T) -> a number for each, (...) or (..., K)."""


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the middle half of all scores, runs and tasks pooled; (..., R, T) -> (...).

    As ``scipy.stats.trim_mean``, it leaves out a whole number of scores at each end.

    >>> float(interquartile_mean(np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 90.0]])))
    1.5
    """
    pooled = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = int(CUT * pooled.shape[-1])
    return pooled[..., cut : pooled.shape[-1] - cut].mean(-1)


def profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of scores above each threshold; (..., R, T) and (K,) -> (..., K).

    >>> profile(np.array([[0.2, 0.6], [0.4, 0.8]]), np.array([0.0, 0.4, 0.9])).tolist()
    [1.0, 0.5, 0.0]
    """
    above = scores[..., None] > thresholds
    return above.mean((-3, -2))


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How likely a run of X beats a run of Y on a task; (..., R, T) and (..., S, T) -> (...).

    That is the Mann-Whitney statistic of each task, averaged over tasks: a tie counts half.

    >>> float(probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])))
    0.625
    """
    gaps = x[..., :, None, :] - y[..., None, :, :]
    wins = (gaps > 0) + 0.5 * (gaps == 0)
    return wins.mean((-3, -2, -1))


def bootstrap(
    statistic: Statistic,
    scores: Sequence[np.ndarray],
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of a statistic by a stratified bootstrap.

    Runs are drawn with replacement, for each task and each matrix on its own; tasks are fixed.

    Args:
        statistic: Takes the resampled matrices, (draws, R, T) each.
        scores: One or more matrices (R, T).
        generator: Draws the runs.
        draws: How often.
        level: Confidence level.

    Returns:
        Both ends, each of the shape of the statistic.
    """
    samples = []
    for matrix in scores:
        runs, tasks = matrix.shape
        chosen = generator.integers(runs, size=(draws, runs, tasks))
        samples.append(np.take_along_axis(matrix[None], chosen, axis=1))
    tail = 50 * (1 - level)
    low, high = np.percentile(statistic(*samples), [tail, 100 - tail], axis=0)
    return low, high
