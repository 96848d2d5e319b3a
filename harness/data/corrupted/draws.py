"""Random numbers that belong to samples, so that an image is corrupted alike in any company."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.rng import Rng, derive


@dataclass(frozen=True)
class Draws:
    """The random numbers of some samples. Equal calls give equal numbers.

    Attributes:
        identity: int (B,), the identity of each sample.
        rng: source of the numbers.
    """

    identity: np.ndarray
    rng: Rng

    def generators(self, purpose: str) -> Iterator[np.random.Generator]:
        """Yield a generator for each sample."""
        key = derive(self.rng.seed, purpose)
        for index in self.identity:
            # The sample's identity is the high word of the counter, so streams never overlap.
            yield np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, int(index)]))

    def uniform(self, purpose: str, *shape: int) -> np.ndarray:
        """Uniform values in [0, 1), float32 (B, *shape)."""
        values = np.empty((len(self.identity), math.prod(shape)), np.float32)
        for row, generator in zip(values, self.generators(purpose), strict=True):
            generator.random(out=row, dtype=np.float32)
        return values.reshape(-1, *shape)

    def normal(self, purpose: str, *shape: int) -> np.ndarray:
        """Standard normal values, float32 (B, *shape)."""
        values = np.empty((len(self.identity), math.prod(shape)), np.float32)
        for row, generator in zip(values, self.generators(purpose), strict=True):
            generator.standard_normal(out=row, dtype=np.float32)
        return values.reshape(-1, *shape)

    def integers(self, purpose: str, low: int, high: int, *shape: int) -> np.ndarray:
        """Whole numbers from ``low`` to ``high - 1``, int64 (B, *shape)."""
        share = self.uniform(purpose, *shape).astype(np.float64)
        return low + np.floor(share * (high - low)).astype(np.int64)

    def signs(self, purpose: str, *shape: int) -> np.ndarray:
        """-1 or 1, int64 (B, *shape)."""
        return 2 * self.integers(purpose, 0, 2, *shape) - 1

    def poisson(self, purpose: str, mean: np.ndarray) -> np.ndarray:
        """Poisson counts of the given means, int64 (B, ...) like ``mean``."""
        counts = np.empty(mean.shape, np.int64)
        pairs = zip(counts, mean, self.generators(purpose), strict=True)
        for row, means, generator in pairs:
            row[...] = generator.poisson(means)
        return counts
