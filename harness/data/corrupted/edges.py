"""Edges of images by Canny's method (1986), with the defaults of scikit-image."""

from __future__ import annotations

import numpy as np

from harness.lazy import ndimage

SIGMA = 1.0
LOW, HIGH = 0.1, 0.2
"""Gradients above the first that are connected with one above the second are edges."""


def canny(images: np.ndarray) -> np.ndarray:
    """Find edges.

    Args:
        images: (B, H, W) in [0, 1].

    Returns:
        bool (B, H, W).
    """
    smooth = _smoothed(images.astype(np.float64))
    down = _sobel(smooth, axis=1, other=2)
    across = _sobel(smooth, axis=2, other=1)
    size = np.sqrt(down * down + across * across)
    ridge = _is_ridge(size, down, across) & (size >= LOW)
    # Ridges touch each other within an image, not across images.
    touching = np.zeros((3, 3, 3), bool)
    touching[1] = True
    labels, count = ndimage.label(ridge, touching)
    strong = np.zeros(count + 1, bool)
    strong[labels[ridge & (size >= HIGH)]] = True
    return strong[labels] & ridge


def _smoothed(images: np.ndarray) -> np.ndarray:
    """Blur, without the zeros outside counting as black."""
    sigma = (0, SIGMA, SIGMA)
    blurred = ndimage.gaussian_filter(images, sigma, mode="constant")
    share = ndimage.gaussian_filter(np.ones_like(images[:1]), sigma, mode="constant")
    result: np.ndarray = blurred / (share + np.finfo(np.float64).eps)
    return result


def _sobel(images: np.ndarray, axis: int, other: int) -> np.ndarray:
    """Sobel's derivative along one axis of images, smoothed along the other."""
    change = ndimage.correlate1d(images, [-1, 0, 1], axis)
    derivative: np.ndarray = ndimage.correlate1d(change, [1, 2, 1], other)
    return derivative


def _is_ridge(size: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Whether a gradient is at least as large as those ahead and behind, between pixels."""
    steep = np.abs(down) >= np.abs(across)
    larger = np.maximum(np.abs(down), np.abs(across))
    smaller = np.minimum(np.abs(down), np.abs(across))
    share = np.divide(smaller, larger, out=np.zeros_like(larger), where=larger > 0)
    row_step, column_step = np.sign(down).astype(np.int64), np.sign(across).astype(np.int64)
    images, height, width = size.shape
    batch, row, column = np.ogrid[:images, :height, :width]
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))

    def beside(way: int) -> np.ndarray:
        """The size one step along the gradient, interpolated."""
        straight = padded[
            batch,
            row + 1 + way * np.where(steep, row_step, 0),
            column + 1 + way * np.where(steep, 0, column_step),
        ]
        diagonal = padded[batch, row + 1 + way * row_step, column + 1 + way * column_step]
        return diagonal * share + straight * (1 - share)

    inside = np.zeros(size.shape, bool)
    inside[:, 1:-1, 1:-1] = True
    return inside & (size > 0) & (beside(1) <= size) & (beside(-1) <= size)
