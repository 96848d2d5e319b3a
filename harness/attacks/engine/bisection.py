"""Where a bisecting sweep begins."""

from __future__ import annotations

from collections.abc import Sequence


def known_robust(grid: Sequence[float]) -> int:
    """Index of the largest eps that needs no attack, -1 if there is none: at 0, clean is robust."""
    return 0 if grid[0] == 0 else -1


def first_bisected(grid: Sequence[float]) -> int:
    """Index of the eps at which bisection begins.

    >>> first_bisected([0.0, 0.1, 0.2, 0.3])
    2
    """
    return (known_robust(grid) + len(grid)) // 2
