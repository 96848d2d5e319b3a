"""Characters of a font as pen strokes, and many drawers' versions of them.

A character's outline is filled on a fine canvas, thinned to its centre line, and kept as the
distance to that line. A drawer samples the distance through a smooth random deformation of the
plane, and inks all points nearer than a pen radius: strokes keep an even width however far they are
bent.

Only the outline comes from the font. The rest is arithmetic in this module, so that a new version
of a rasteriser does not change a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.rng import Rng

CANVAS = 96
"""Side of the canvas in canvas pixels."""
BOX = 60
"""Longer side of a character's bounding box, in canvas pixels."""
CHORDS = 8
"""Chords that replace one curve of an outline."""

PEN = 3.5
"""Radius of the pen in canvas pixels."""
PEN_SPREAD = 0.25
"""Largest relative change of the radius."""
TURN = 0.13
"""Largest rotation of a hand, in radians; a drawing may add as much."""
SLANT = 0.2
"""Largest shear of a hand."""
STRETCH = 0.15
"""Largest change of the log of the width."""
SHIFT = 3.5
"""Largest displacement of a drawing in canvas pixels."""
BEND = 3.2
"""Standard deviation of the knots of the elastic deformation, in canvas pixels."""
KNOTS = 5
"""Knots of the elastic deformation along a side."""

NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Offsets (y, x) of a pixel's neighbours, clockwise from the one above."""


def distance_fields(font: Path, characters: Sequence[str]) -> np.ndarray:
    """Measure the distance from each canvas pixel to the centre line of each character.

    Args:
        font: a TrueType file.
        characters: single characters that the font has.

    Returns:
        float64 (N, CANVAS, CANVAS), in canvas pixels.
    """
    from scipy.ndimage import distance_transform_edt

    shapes = [fill(_fit(contours)) for contours in outlines(font, characters)]
    lines = thin(np.stack(shapes))
    return np.stack([distance_transform_edt(~line) for line in lines])


def outlines(font: Path, characters: Sequence[str]) -> list[list[np.ndarray]]:
    """Read the closed contours of each character.

    fontTools reads them, because it only copies numbers out of the file.

    Returns:
        The contours of each character as polygons (P, 2), y upwards, in font units. A curve becomes
        8 chords.
    """
    from fontTools.pens.basePen import BasePen
    from fontTools.ttLib import TTFont

    step = np.linspace(1 / CHORDS, 1, CHORDS)[:, None]

    class Polygons(BasePen):
        """A pen that collects contours; fontTools calls its methods."""

        def _moveTo(self, point: Any) -> None:
            contours.append([np.array([point], float)])

        def _lineTo(self, point: Any) -> None:
            contours[-1].append(np.array([point], float))

        def _qCurveToOne(self, control: Any, end: Any) -> None:
            start = contours[-1][-1][-1]
            control = np.array(control)
            end = np.array(end)
            curve = (1 - step) ** 2 * start + 2 * step * (1 - step) * control + step**2 * end
            contours[-1].append(curve)

    drawn = []
    with TTFont(font, lazy=True) as file:
        glyphs = file.getGlyphSet()
        names = file.getBestCmap()
        for character in characters:
            contours: list[list[np.ndarray]] = []
            glyphs[names[ord(character)]].draw(Polygons(glyphs))
            drawn.append([np.concatenate(contour) for contour in contours])
    return drawn


def _fit(contours: list[np.ndarray]) -> list[np.ndarray]:
    """Centre contours on the canvas, y downwards, the longer side of their box ``BOX`` long."""
    points = np.concatenate(contours)
    low = points.min(0)
    high = points.max(0)
    scale = BOX / (high - low).max() * np.array([1.0, -1.0])
    return [(contour - (low + high) / 2) * scale + CANVAS / 2 for contour in contours]


def fill(contours: list[np.ndarray]) -> np.ndarray:
    """Find the pixels whose centres are inside contours, by the non-zero winding rule.

    Args:
        contours: closed polygons (P, 2) of (x, y) in canvas pixels.

    Returns:
        bool (CANVAS, CANVAS).
    """
    # Along each row, an edge that crosses the row's centre adds 1 or -1 from the crossing on.
    crossings = np.zeros((CANVAS, CANVAS + 1), np.int64)
    centres = np.arange(CANVAS)[:, None] + 0.5
    for contour in contours:
        x0, y0 = contour.T
        x1, y1 = np.roll(contour, -1, 0).T
        up = (y0 <= centres) & (centres < y1)
        down = (y1 <= centres) & (centres < y0)
        row, edge = np.nonzero(up | down)
        slope = (x1 - x0)[edge] / (y1 - y0)[edge]
        x = x0[edge] + (row + 0.5 - y0[edge]) * slope
        column = np.clip(np.ceil(x - 0.5), 0, CANVAS).astype(np.int64)
        np.add.at(crossings, (row, column), np.where(up[row, edge], 1, -1))
    winding = np.cumsum(crossings, 1)[:, :CANVAS]
    return winding != 0


def thin(shapes: np.ndarray) -> np.ndarray:
    """Thin shapes to centre lines one pixel wide (Zhang, Suen, CACM 27(3), 1984), all at once.

    Args:
        shapes: bool (N, H, W), false along the border.

    Returns:
        bool (N, H, W).
    """
    lines = shapes.copy()
    tables = _removable()
    while True:
        before = lines.sum()
        for table in tables:
            code = np.zeros(lines.shape, np.uint8)
            for bit, (dy, dx) in enumerate(NEIGHBOURS):
                code |= np.roll(lines, (-dy, -dx), (1, 2)).view(np.uint8) << bit
            lines &= ~table[code]
        if lines.sum() == before:
            return lines


def _removable() -> tuple[np.ndarray, np.ndarray]:
    """For both half-steps: the neighbourhoods in which a pixel is removed, bool (256,).

    Bit i of a neighbourhood's number is its i-th neighbour.
    """
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    neighbours = bits.sum(1)
    runs = ((bits == 0) & (np.roll(bits, -1, 1) == 1)).sum(1)
    north, east, south, west = bits[:, ::2].T
    common = (neighbours >= 2) & (neighbours <= 6) & (runs == 1)
    first = common & (north * east * south == 0) & (east * south * west == 0)
    second = common & (north * east * west == 0) & (north * south * west == 0)
    return first, second


def draw(fields: np.ndarray, drawers: int, size: int, rng: Rng) -> np.ndarray:
    """Draw each character by each drawer.

    A drawer has a hand (slant, turn, width, pen) that is the same for all characters of an
    alphabet. Each drawing adds a smaller affine change of its own and an elastic one.

    Args:
        fields: (N, CANVAS, CANVAS), those of one alphabet, from ``distance_fields``.
        drawers: number of drawers.
        size: side of the drawings in pixels.
        rng: source of the draws.

    Returns:
        uint8 (N, drawers, size, size), ink 255 on 0.
    """
    hands = rng.numpy("hands").uniform(-1, 1, (drawers, 4))
    pen = PEN * (1 + PEN_SPREAD * hands[:, 3, None, None])
    pixel = CANVAS / size
    drawn = np.empty((len(fields), drawers, size, size), np.uint8)
    for number, field in enumerate(fields):
        generator = rng.numpy("drawing", number)
        points = _affine(hands, generator, size) + _elastic(drawers, generator, size)
        # Processors differ in the last bits of the points: rounding removes the differences.
        points = np.rint(points * 256) / 256
        distance = _bilinear(field, points)
        drawn[number] = np.rint(255 * np.clip((pen - distance) / pixel + 0.5, 0, 1))
    return drawn


def _affine(hands: np.ndarray, generator: np.random.Generator, size: int) -> np.ndarray:
    """The canvas point of each pixel of each drawing, (drawers, 2 (y, x), size, size)."""
    own = generator.uniform(-1, 1, (len(hands), 6))
    turn = TURN * (hands[:, 0] + own[:, 0])
    slant = SLANT * (hands[:, 1] + 0.4 * own[:, 1])
    wide = np.exp(STRETCH * (hands[:, 2] + 0.5 * own[:, 2]))
    tall = np.exp(STRETCH * own[:, 3])
    cos = np.cos(turn)
    sin = np.sin(turn)
    to_y = np.stack([cos * tall, -sin * tall], 1)
    to_x = np.stack([(sin + slant * cos) * wide, cos * wide], 1)
    matrix = np.stack([to_y, to_x], 1)
    grid = (np.mgrid[:size, :size] + 0.5) * (CANVAS / size) - CANVAS / 2
    centre = CANVAS / 2 - 0.5 + SHIFT * own[:, 4:]
    return np.einsum("dij,jyx->diyx", matrix, grid) + centre[:, :, None, None]


def _elastic(drawers: int, generator: np.random.Generator, size: int) -> np.ndarray:
    """A smooth random displacement in canvas pixels, (drawers, 2 (y, x), size, size).

    It is a cubic B-spline on a coarse lattice.
    """
    knots = generator.standard_normal((drawers, 2, KNOTS + 3, KNOTS + 3)) * BEND
    position = (np.arange(size) + 0.5) * (KNOTS / size)
    t = np.abs(position[:, None] - np.arange(-1, KNOTS + 2))
    near = 2 / 3 - t**2 + t**3 / 2
    far = np.clip(2 - t, 0, None) ** 3 / 6
    spline = np.where(t < 1, near, far)
    return 2 * np.einsum("yk,dckl,xl->dcyx", spline, knots, spline, optimize=True)


def _bilinear(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate ``field`` at ``points`` (D, 2, H, W); the edge is repeated outside."""
    y, x = np.clip(points, 0, CANVAS - 1.001).transpose(1, 0, 2, 3)
    row = y.astype(np.int64)
    column = x.astype(np.int64)
    y = y - row
    x = x - column
    corner = row * CANVAS + column
    flat = field.ravel()
    top = flat[corner] * (1 - x) + flat[corner + 1] * x
    bottom = flat[corner + CANVAS] * (1 - x) + flat[corner + CANVAS + 1] * x
    return top * (1 - y) + bottom * y
