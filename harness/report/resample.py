"""Means of several learners over the same resampled seeds and units: one resample serves all of them, which is what makes many
of them affordable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CHUNK = 2**22
"""Resampled unit counts that are held at once."""


def resampled(
    units: Sequence[np.ndarray], generator: np.random.Generator, draws: int, *, crossed: bool
) -> Iterator[np.ndarray]:
    """Means over resampled seeds and, within them, resampled units.

    Args:
        units: an array (learners, units) a seed; where ``crossed``, all have equally many.
        crossed: unit i is the same in every seed: one resample of units serves all seeds.

    Yields:
        float (some draws, learners), until there are ``draws`` of them.
    """
    resample = _crossed if crossed else _nested
    size = max(1, CHUNK // sum(each.shape[1] for each in units))
    for start in range(0, draws, size):
        yield resample(units, generator, min(size, draws - start))


def _crossed(units: Sequence[np.ndarray], generator: np.random.Generator, draws: int) -> np.ndarray:
    stacked = np.stack(units, axis=1)
    learners, seeds, n = stacked.shape
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    sums = (
        _counts(generator, draws, n) @ stacked.reshape(-1, n).T
    )  # exact for verdicts: a mean of zero is zero
    return np.einsum("ds,dls->dl", of_seeds, sums.reshape(draws, learners, seeds)) / (n * seeds)


def _nested(units: Sequence[np.ndarray], generator: np.random.Generator, draws: int) -> np.ndarray:
    chosen = generator.integers(len(units), size=(draws, len(units)))
    means = np.empty((draws, len(units), len(units[0])))
    for seed, own in enumerate(units):
        at, n = chosen == seed, own.shape[1]
        means[at] = _counts(generator, int(at.sum()), n) @ own.T / n
    return means.mean(axis=1)


def _counts(generator: np.random.Generator, draws: int, n: int) -> np.ndarray:
    """How often each of ``n`` units is drawn, with replacement, (draws, n)."""
    drawn = generator.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)
