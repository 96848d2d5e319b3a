"""Images read at other places than their own pixels: warps, zooms, and motion.

Everything is computed value by value: a product of matrices would round an image by the number of
images beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

Border = Literal["zero", "mirror", "symmetric"]
"""What is outside: zeros; the image mirrored at its last pixels; or mirrored behind them."""


def sample(images: np.ndarray, y: np.ndarray, x: np.ndarray, border: Border) -> np.ndarray:
    """Read images between their pixels, bilinear.

    Args:
        images: (B, C, H, W).
        y, x: (B, H', W'), where each output pixel is read, in pixels from the first one.
        border: what is outside.

    Returns:
        float64 (B, C, H', W').
    """
    top = np.floor(y).astype(np.int64)
    left = np.floor(x).astype(np.int64)
    down = y - top
    right = x - left
    result = np.zeros((*images.shape[:2], *y.shape[1:]))
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            weight = row_weight * column_weight
            result += weight[:, None] * _at(images, row, column, border)
    return result


def _at(images: np.ndarray, row: np.ndarray, column: np.ndarray, border: Border) -> np.ndarray:
    """Pixels at whole places (B, H', W'), which may be outside."""
    batch, channels, height, width = images.shape
    inside_row, inside_column = _INSIDE[border](row, height), _INSIDE[border](column, width)
    places = (inside_row * width + inside_column).reshape(batch, 1, -1)
    flat = images.reshape(batch, channels, -1)
    values = np.take_along_axis(flat, places, axis=2)
    values = values.reshape(batch, channels, *row.shape[1:])
    if border == "zero":
        outside = (row != inside_row) | (column != inside_column)
        values = np.where(outside[:, None], 0, values)
    return values


def _clipped(place: np.ndarray, size: int) -> np.ndarray:
    return np.clip(place, 0, size - 1)


def _mirrored(place: np.ndarray, size: int) -> np.ndarray:
    """... 2 1 | 0 1 2 ...: the last pixel is not repeated."""
    period = 2 * (size - 1)
    within = np.mod(place, period)
    return np.minimum(within, period - within)


def _symmetric(place: np.ndarray, size: int) -> np.ndarray:
    """... 1 0 | 0 1 2 ...: the last pixel is repeated."""
    within = np.mod(place, 2 * size)
    return np.minimum(within, 2 * size - 1 - within)


_INSIDE: dict[Border, Callable[[np.ndarray, int], np.ndarray]] = {
    "zero": _clipped,
    "mirror": _mirrored,
    "symmetric": _symmetric,
}


def linear_map(images: np.ndarray, matrix: np.ndarray, border: Border = "zero") -> np.ndarray:
    """Warp images so that their centre stays where it is.

    Args:
        images: (B, C, H, W).
        matrix: (B, 2, 2), from the place (x, y) of an output pixel to where it is read, both
            relative to the centre.
        border: what is outside.

    Returns:
        float64 (B, C, H, W).
    """
    height, width = images.shape[-2:]
    y, x = np.mgrid[:height, :width] - np.reshape([(height - 1) / 2, (width - 1) / 2], (2, 1, 1))
    entries = matrix[:, :, :, None, None]
    read_x = entries[:, 0, 0] * x + entries[:, 0, 1] * y + (width - 1) / 2
    read_y = entries[:, 1, 0] * x + entries[:, 1, 1] * y + (height - 1) / 2
    return sample(images, read_y, read_x, border)


def zoomed(images: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge the middle of images, bilinear; the size stays the same.

    The piece that is enlarged is the least whole number of pixels that covers the image, and its
    corners stay corners.

    Args:
        images: (..., H, H).
        factor: at least 1.

    Returns:
        float64 (..., H, H).
    """
    side = images.shape[-1]
    piece = math.ceil(side / factor)
    first = (side - piece) // 2
    enlarged = round(piece * factor)
    trimmed = (enlarged - side) // 2
    step = (piece - 1) / (enlarged - 1) if enlarged > 1 else 0.0
    places = first + (np.arange(side) + trimmed) * step
    low = np.minimum(places.astype(np.int64), side - 2)
    share = places - low
    rows = images[..., low, :] * (1 - share)[:, None] + images[..., low + 1, :] * share[:, None]
    result: np.ndarray = rows[..., low] * (1 - share) + rows[..., low + 1] * share
    return result


def motion_blur(images: np.ndarray, radius: int, sigma: float, degrees: np.ndarray) -> np.ndarray:
    """Blur along one direction as ImageMagick does: half a Gaussian, on whole pixels.

    Args:
        images: (B, C, H, W); pixels outside repeat the border.
        radius: of the blur; it has ``2 radius + 1`` steps of a pixel.
        sigma: standard deviation of the Gaussian, in pixels.
        degrees: (B,), the direction, from the x axis downwards.

    Returns:
        float64 (B, C, H, W).
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-np.square(steps) / (2 * sigma**2))
    weights /= weights.sum()
    height, width = images.shape[-2:]
    y = np.arange(height)[None, :, None]
    x = np.arange(width)[None, None, :]
    angle = np.radians(degrees)[:, None, None]
    result = np.zeros(images.shape)
    for step, weight in zip(steps, weights, strict=True):
        # Halves are rounded down, up to the rounding of the product itself.
        row = y + np.ceil(step * np.sin(angle) - 0.5).astype(np.int64)
        column = x + np.ceil(step * np.cos(angle) - 0.5).astype(np.int64)
        row, column = np.broadcast_arrays(_clipped(row, height), _clipped(column, width))
        result += weight * _at(images, row, column, "mirror")
    return result
