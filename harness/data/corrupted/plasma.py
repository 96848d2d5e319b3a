"""Plasma: a random landscape with detail at all scales, from which fog is made."""

from __future__ import annotations

import numpy as np

from harness.data.corrupted.draws import Draws

AT_ONCE = 8
"""Landscapes made at once: more of 256 x 256 do not fit a processor cache."""


def plasma(draws: Draws, size: int, decay: float, shown: int) -> np.ndarray:
    """Random landscapes by the diamond-square algorithm, on a torus.

    The middle of each square is the mean of its corners plus noise, then the middle of each edge
    the mean of its four neighbours plus noise. The squares are halved from step to step, and the
    noise is divided by ``decay`` squared.

    Args:
        draws: of the samples.
        size: side of a landscape, a power of two.
        decay: how fast noise falls with scale.
        shown: side of the corner that is returned.

    Returns:
        float32 (B, shown, shown), where whole landscapes are scaled to [0, 1].
    """
    parts = []
    for start in range(0, len(draws.identity), AT_ONCE):
        part = Draws(draws.identity[start : start + AT_ONCE], draws.rng)
        heights = _landscape(2 * part.uniform("plasma", size * size) - 1, size, decay)
        lowest = heights.min((1, 2), keepdims=True)
        highest = heights.max((1, 2), keepdims=True)
        parts.append((heights[:, :shown, :shown] - lowest) / (highest - lowest))
    return np.concatenate(parts)


def _landscape(noise: np.ndarray, size: int, decay: float) -> np.ndarray:
    """Heights, float32 (B, size, size), from noise (B, size * size) in [-1, 1)."""
    heights = np.zeros((len(noise), size, size), np.float32)
    step = size
    height = np.float32(1)
    used = 0

    def raised(total: np.ndarray) -> np.ndarray:
        """The mean of four, plus the next noise."""
        nonlocal used
        count = total.shape[1] * total.shape[2]
        new = noise[:, used : used + count].reshape(total.shape)
        used += count
        return total / 4 + height * new

    while step > 1:
        half = step // 2
        corners = heights[:, ::step, ::step]
        beside = corners + np.roll(corners, -1, 2)
        below = corners + np.roll(corners, -1, 1)
        middles = raised(beside + np.roll(beside, -1, 1))
        heights[:, half::step, half::step] = middles
        heights[:, ::step, half::step] = raised(beside + middles + np.roll(middles, 1, 1))
        heights[:, half::step, ::step] = raised(below + middles + np.roll(middles, 1, 2))
        step = half
        height /= np.float32(decay) ** 2
    return heights
