"""Which part of an attack broke each sample first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NONE = -1
"""No part broke the sample."""


def first_breaker(correct: np.ndarray) -> np.ndarray:
    """The objective that broke each sample first: at the smallest eps, then in order of the runs.

    Args:
        correct: uint8 (E, O, R, N), as in ``Sweep``.

    Returns:
        int64 (E, N): number of the objective, or -1.

    >>> import numpy as np
    >>> ce, square = [[1, 0, 0]], [[1, 2, 0]]
    >>> first_breaker(np.array([[ce, square]], np.uint8)).tolist()
    [[-1, 0, 0]]
    """
    grid, objectives, restarts, samples = correct.shape
    runs = correct.swapaxes(1, 2).reshape(grid, restarts * objectives, samples)
    broken = runs == 0
    first = np.where(broken.any(1), broken.argmax(1) % objectives, NONE)
    for place in range(1, grid):
        # What breaks a sample at one eps breaks it at every larger one.
        first[place] = np.where(first[place - 1] != NONE, first[place - 1], first[place])
    return first


def shares(correct: np.ndarray, objectives: Sequence[str]) -> list[dict[str, float]]:
    """For each eps, the share of all samples that each objective broke first."""
    first = first_breaker(correct)
    return [
        {name: float((row == number).mean()) for number, name in enumerate(objectives)}
        for row in first
    ]
