"""Episodes: N-way K-shot tasks as rows of a split, many at once. They hold indices, not images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

PAD = -1
"""Fills the arrays of an episode that has fewer ways or shots than the widest of its set."""
RANGE = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")


class Span(NamedTuple):
    """A number of ways or shots: fixed, or drawn uniformly from ``low`` to ``high``, inclusive."""

    low: int
    high: int

    @classmethod
    def of(cls, value: int | str) -> Span:
        """Create a span from a number or from a range such as ``"1-10"``.

        >>> Span.of(5), Span.of("1-10")
        (Span(low=5, high=5), Span(low=1, high=10))

        Raises:
            ValueError: If it is neither, ``low`` is below 1, or ``low`` is not below ``high``.
        """
        if isinstance(value, str):
            match = RANGE.fullmatch(value)
            if match is None:
                raise ValueError(f"{value!r} is neither a number nor a range such as 1-10")
            low, high = map(int, match.groups())
            if low >= high:
                raise ValueError(f"{value!r} does not run from a smaller to a larger number")
        else:
            low = high = value
        if low < 1:
            raise ValueError(f"{value}: must be at least 1")
        return cls(low, high)

    @property
    def fixed(self) -> bool:
        """Whether it is a single number."""
        return self.low == self.high

    @property
    def value(self) -> int | str:
        """The number or range that ``of`` takes."""
        return self.low if self.fixed else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class Episodes:
    """E episodes. Rows are positions in the ``Images`` they were drawn from.

    If episodes differ in ways or shots, all five arrays have the size of the widest episode, and
    ``PAD`` fills the rest.

    Attributes:
        support: int64 (E, ways * shots), way by way.
        support_labels: int64 (E, ways * shots) in [0, ways).
        query: int64 (E, ways * queries), way by way.
        query_labels: int64 (E, ways * queries) in [0, ways).
        classes: int64 (E, ways), the class of each way.
    """

    support: np.ndarray
    support_labels: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def _arrays(self) -> list[np.ndarray]:
        return [getattr(self, field.name) for field in fields(self)]

    def take(self, positions: np.ndarray | slice) -> Episodes:
        """Select episodes."""
        return Episodes(*(array[positions] for array in self._arrays()))

    def rows(self) -> np.ndarray:
        """Return the distinct rows that any episode uses, ascending."""
        rows = np.concatenate([self.support.ravel(), self.query.ravel()])
        # A table of flags is much faster than np.unique on millions of rows.
        is_used = np.zeros(rows.max(initial=0) + 1, bool)
        is_used[rows[rows >= 0]] = True
        return np.flatnonzero(is_used)

    def by_shape(self) -> Iterator[tuple[np.ndarray, Episodes]]:
        """Group episodes of equal shape (ways, support images, query images), without padding.

        Yields:
            Positions of the episodes (n,), ascending, and the episodes.
        """
        arrays = self._arrays()
        sizes = np.stack([(array >= 0).sum(1) for array in arrays], 1)
        for shape in np.unique(sizes, axis=0):
            positions = np.flatnonzero((sizes == shape).all(1))
            trimmed = []
            for array in arrays:
                chosen = array[positions]
                trimmed.append(chosen[chosen >= 0].reshape(len(positions), -1))
            yield positions, Episodes(*trimmed)
