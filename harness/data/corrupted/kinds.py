"""What a corruption with a published name is, and what the two published sets share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data.corrupted.draws import Draws

Corrupting = Callable[[np.ndarray, Any, Draws], np.ndarray]
"""Pixels (B, C, H, W) in [0, 1], a size and draws, to pixels that are clipped afterwards."""


@dataclass(frozen=True)
class Kind:
    """One corruption.

    Attributes:
        corrupting: what it does.
        sizes: its size at severities 1 to 5; None: it has one severity, and no size.
        published: severity of the files that its authors published; None: all five, or its one.
        words: description with a place for its sizes.
        stands_in: why its numbers cannot be compared with published ones; empty if they can.
    """

    corrupting: Corrupting
    sizes: tuple[Any, ...] | None
    published: int | None
    words: str
    stands_in: str = ""

    def describe(self) -> str:
        """Its sizes at all severities, in words."""
        if self.sizes is None:
            return f"{self.words}, one severity"
        text = self.words.format("; ".join(map(_in_words, self.sizes)))
        return f"{text} ({self.stands_in})" if self.stands_in else text


def _in_words(size: Any) -> str:
    parts = size if isinstance(size, tuple) else (size,)
    return " ".join(f"{part:.4g}" for part in parts)


def moved_about(
    pixels: np.ndarray, reach: int, rounds: int, draws: Draws, *, share: float, swap: bool
) -> np.ndarray:
    """Exchange pixels with near ones, one after the other from the last to the first.

    Args:
        pixels: (B, C, H, H).
        reach: a partner is from ``reach`` before to ``reach - 1`` behind, in both directions.
        rounds: over the whole image.
        draws: of the samples.
        share: of the pixels that are exchanged.
        swap: whether the near one is replaced too.
    """
    batch, channels, side, _ = pixels.shape
    result = pixels.transpose(2, 3, 0, 1).copy()  # the batch is contiguous at each place
    every = np.arange(batch)
    for number in range(rounds):
        chosen = draws.uniform(f"chosen {number}", side, side) < share
        steps = draws.integers(f"partner {number}", -reach, reach, side, side, 2)
        for row in range(side - reach, reach, -1):
            for column in range(side - reach, reach, -1):
                mine = chosen[:, row, column]
                other_row = np.where(mine, row + steps[:, row, column, 0], row)
                other_column = np.where(mine, column + steps[:, row, column, 1], column)
                theirs = result[other_row, other_column, every]
                if swap:
                    result[other_row, other_column, every] = result[row, column]
                result[row, column] = theirs
    return result.transpose(2, 3, 0, 1)
