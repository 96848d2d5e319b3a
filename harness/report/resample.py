"""Means of several learners over shared resamples.

One resample of seeds and units serves all learners, which makes comparing many of them affordable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CHUNK = 2**22
"""Resampled unit counts that are held in memory at once."""


def resampled_means(
    units: Sequence[np.ndarray], generator: np.random.Generator, draws: int, *, crossed: bool
) -> Iterator[np.ndarray]:
    """Resample seeds and, within them, units.

    Args:
        units: One array (learners, units) per seed; if ``crossed``, all of one shape.
        generator: Source of randomness.
        draws: Number of resamples.
        crossed: Whether unit i is the same in every seed, so that one resample of units serves
            all seeds.

    Yields:
        Means, float (some draws, learners), until there are ``draws`` of them.
    """
    resample = _crossed if crossed else _nested
    size = max(1, CHUNK // sum(array.shape[1] for array in units))
    for start in range(0, draws, size):
        yield resample(units, generator, min(size, draws - start))


def _crossed(units: Sequence[np.ndarray], generator: np.random.Generator, draws: int) -> np.ndarray:
    stacked = np.stack(units, axis=1)
    learners, seeds, n = stacked.shape
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    # Products of counts and 0/1 verdicts are exact, so that a mean of zero is exactly zero.
    sums = _counts(generator, draws, n) @ stacked.reshape(-1, n).T
    sums = sums.reshape(draws, learners, seeds)
    return np.einsum("ds,dls->dl", seed_counts, sums) / (n * seeds)


def _nested(units: Sequence[np.ndarray], generator: np.random.Generator, draws: int) -> np.ndarray:
    chosen = generator.integers(len(units), size=(draws, len(units)))
    means = np.empty((draws, len(units), len(units[0])))
    for seed, array in enumerate(units):
        places = chosen == seed
        n = array.shape[1]
        means[places] = _counts(generator, int(places.sum()), n) @ array.T / n
    return means.mean(axis=1)


def _counts(generator: np.random.Generator, draws: int, n: int) -> np.ndarray:
    """How often each of ``n`` units is drawn with replacement, float64 (draws, n)."""
    drawn = generator.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=draws * n)
    return counts.reshape(draws, n).astype(np.float64)
