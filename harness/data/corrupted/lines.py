"""Lines drawn over digits: the dotted line and the zigzag of MNIST-C.

There are few of them, so all are drawn once.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

SIDE = 28
REACH = 2.3
"""How far from a line ink reaches, in pixels up and down."""

ROWS = 27
"""A line starts, and a dotted one ends, in one of the first 27 rows."""
RISES = (-5, 5)
"""How far a zigzag rises, from the first number to one below the second."""
ZIGZAG_FROM, ZIGZAG_TO = 2, 25
TOOTH = 2.0
"""Half the width of a tooth of the zigzag, and its height."""


def _segment(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Ink of a line from left to right, (28, 28) in [0, 1]: 1 + log(1 - distance / 2.3)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    on_line = (y1 - y0) / (x1 - x0) * (x - x0) + y0
    distance = np.minimum(np.abs(y - on_line), REACH - 1e-10)
    ink = np.clip(np.log(1 - distance / REACH) + 1, 0, 1)
    return np.where((x >= math.floor(x0)) & (x < math.ceil(x1)), ink, 0)


@cache
def dotted_lines() -> np.ndarray:
    """All dotted lines, float32 (27, 27, 28, 28), by the rows of both ends; gaps of two columns."""
    kept = np.arange(SIDE) // 2 % 2 == 1
    lines = [
        [_segment(0, start, SIDE - 1, end) * kept for end in range(ROWS)] for start in range(ROWS)
    ]
    return np.array(lines, np.float32)


@cache
def zigzags() -> np.ndarray:
    """All zigzags, float32 (27, 10, 28, 28), by the row of the start and the rise."""
    zigzag = [[_zigzag(start, rise) for rise in range(*RISES)] for start in range(ROWS)]
    return np.array(zigzag, np.float32)


def _zigzag(start: int, rise: int) -> np.ndarray:
    """A zigzag along the line from (2, start) to (25, start + rise)."""
    angle = math.atan(rise / (ZIGZAG_TO - ZIGZAG_FROM))
    length = (ZIGZAG_TO - ZIGZAG_FROM) / math.cos(angle)
    teeth = int((length - TOOTH) // (2 * TOOTH)) + 1
    along = [0.0] + [(2 * tooth + 1) * TOOTH for tooth in range(teeth)]
    across = [0.0] + [(-1) ** tooth * TOOTH for tooth in range(teeth)]
    rest = length - 2 * TOOTH * (length // (2 * TOOTH))
    # The published generator cuts its last tooth like this.
    along.append(length)
    across.append(across[-1] / (2 * rest))
    x = [
        ZIGZAG_FROM + a * math.cos(angle) - b * math.sin(angle)
        for a, b in zip(along, across, strict=True)
    ]
    y = [
        start + a * math.sin(angle) + b * math.cos(angle)
        for a, b in zip(along, across, strict=True)
    ]
    ink = np.zeros((SIDE, SIDE))
    for place in range(1, len(x)):
        ink += _segment(x[place - 1], y[place - 1], x[place], y[place])
    return np.minimum(ink, 1)
