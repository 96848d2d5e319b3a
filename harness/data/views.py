"""Views: how the images of one task of a stream are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

AT_ONCE = 1000
"""Images that are rotated at once."""


@dataclass(frozen=True)
class View:
    """A fixed change of every image of a task; uint8 before and after, so every library agrees.

    Attributes:
        kind: ``plain``: none; ``permute``: pixels change places, alike in all channels;
            ``rotate``: anticlockwise about the centre, bilinear, black outside.
        pixels: For ``permute``: where each pixel comes from, H * W numbers, row by row.
        degrees: For ``rotate``.
    """

    kind: Literal["plain", "permute", "rotate"] = "plain"
    pixels: tuple[int, ...] = ()
    degrees: float = 0.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """The images as they are seen, uint8 (N, C, H, W)."""
        if self.kind == "permute":
            flat = pixels.reshape(*pixels.shape[:2], -1)
            return flat[:, :, np.array(self.pixels)].reshape(pixels.shape)
        if self.kind == "rotate":
            parts = [
                rotated(pixels[first : first + AT_ONCE], self.degrees)
                for first in range(0, len(pixels), AT_ONCE)
            ]
            return np.concatenate(parts) if parts else pixels
        return pixels

    def to_json(self) -> dict[str, Any]:
        """As a stream's file names it."""
        if self.kind == "permute":
            return {"kind": "permute", "pixels": list(self.pixels)}
        if self.kind == "rotate":
            return {"kind": "rotate", "degrees": self.degrees}
        return {"kind": "plain"}


PLAIN = View()
"""The images as they are."""


def rotated(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate images anticlockwise about their centre: bilinear, black outside, rounded to uint8.

    >>> rotated(np.array([[[[0, 9], [0, 0]]]], np.uint8), 90).tolist()
    [[[[9, 0], [0, 0]]]]

    Args:
        pixels: uint8 (N, C, H, W).
        degrees: The angle.
    """
    height, width = pixels.shape[2:]
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    rows -= (height - 1) / 2
    columns -= (width - 1) / 2
    angle = np.deg2rad(degrees)
    # Where each pixel comes from; rounded, so that whole numbers stay whole.
    from_row = np.round(np.cos(angle) * rows + np.sin(angle) * columns + (height - 1) / 2, 9)
    from_column = np.round(np.cos(angle) * columns - np.sin(angle) * rows + (width - 1) / 2, 9)
    bordered = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    from_row = from_row.clip(-1, height) + 1
    from_column = from_column.clip(-1, width) + 1
    top = np.floor(from_row).astype(int).clip(0, height)
    left = np.floor(from_column).astype(int).clip(0, width)
    down = from_row - top
    right = from_column - left
    seen = (
        (1 - down) * (1 - right) * bordered[:, :, top, left]
        + (1 - down) * right * bordered[:, :, top, left + 1]
        + down * (1 - right) * bordered[:, :, top + 1, left]
        + down * right * bordered[:, :, top + 1, left + 1]
    )
    return np.rint(seen).astype(np.uint8)
