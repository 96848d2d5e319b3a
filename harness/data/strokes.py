"""Characters of a font as pen strokes, and many drawers' versions of them.

A character's outline is filled on a fine canvas, thinned to its centre line, and kept as the distance to that line. A
drawer samples the distance through a smooth random deformation of the plane and inks what is nearer than a pen radius:
strokes keep an even width however far they are bent. Only the outline comes from the font; the rest is arithmetic here,
so no rasteriser's version changes a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.rng import Rng

CANVAS = 96
BOX = 60
"""The longer side of a character's bounding box on the canvas, in canvas pixels."""


def distance_fields(font: Path, characters: Sequence[str]) -> np.ndarray:
    """Distance from each canvas pixel to the centre line of each character's strokes.

    Args:
        font: a TrueType file.
        characters: single characters that the font has.

    Returns:
        float64 (N, CANVAS, CANVAS), in canvas pixels.
    """
    from scipy.ndimage import distance_transform_edt

    lines = thin(np.stack([fill(_fit(contours)) for contours in outlines(font, characters)]))
    return np.stack([distance_transform_edt(~line) for line in lines])


def outlines(font: Path, characters: Sequence[str]) -> list[list[np.ndarray]]:
    """The closed contours of each character as polygons (P, 2), y upwards, in font units; a curve becomes 8 chords.

    Read by fontTools, which only copies numbers out of the file; a rasteriser's outlines change with its version.
    """
    from fontTools.pens.basePen import BasePen
    from fontTools.ttLib import TTFont

    step = np.linspace(1 / 8, 1, 8)[:, None]

    class Polygons(BasePen):
        def _moveTo(self, point):
            contours.append([np.array([point], float)])

        def _lineTo(self, point):
            contours[-1].append(np.array([point], float))

        def _qCurveToOne(self, control, end):
            start, control, end = contours[-1][-1][-1], np.array(control), np.array(end)
            contours[-1].append(
                (1 - step) ** 2 * start + 2 * step * (1 - step) * control + step**2 * end
            )

    drawn = []
    with TTFont(font, lazy=True) as file:
        glyphs, names = file.getGlyphSet(), file.getBestCmap()
        for character in characters:
            contours: list[list[np.ndarray]] = []
            glyphs[names[ord(character)]].draw(Polygons(glyphs))
            drawn.append([np.concatenate(contour) for contour in contours])
    return drawn


def _fit(contours: list[np.ndarray]) -> list[np.ndarray]:
    """Centre the contours on the canvas, the longer side of their box ``BOX`` long, y downwards."""
    points = np.concatenate(contours)
    low, high = points.min(0), points.max(0)
    scale = BOX / (high - low).max() * np.array([1.0, -1.0])
    return [(contour - (low + high) / 2) * scale + CANVAS / 2 for contour in contours]


def fill(contours: list[np.ndarray]) -> np.ndarray:
    """The pixels whose centres lie inside by the non-zero winding rule: bool (CANVAS, CANVAS)."""
    crossings = np.zeros((CANVAS, CANVAS + 1), np.int64)
    centres = np.arange(CANVAS)[:, None] + 0.5
    for contour in contours:
        (x0, y0), (x1, y1) = contour.T, np.roll(contour, -1, 0).T
        up, down = (y0 <= centres) & (centres < y1), (y1 <= centres) & (centres < y0)
        row, edge = np.nonzero(up | down)
        slope = (x1 - x0)[edge] / (y1 - y0)[edge]
        x = x0[edge] + (row + 0.5 - y0[edge]) * slope
        column = np.clip(np.ceil(x - 0.5), 0, CANVAS).astype(np.int64)
        np.add.at(crossings, (row, column), np.where(up[row, edge], 1, -1))
    return np.cumsum(crossings, 1)[:, :CANVAS] != 0


def thin(shapes: np.ndarray) -> np.ndarray:
    """Centre lines of shapes, one pixel wide (Zhang, Suen, CACM 27(3), 1984), all shapes at once.

    Args:
        shapes: bool (N, H, W), false along the border.
    """
    shapes, tables = shapes.copy(), _removable()
    while True:
        before = shapes.sum()
        for table in tables:
            code = np.zeros(shapes.shape, np.uint8)
            for bit, (dy, dx) in enumerate(NEIGHBOURS):
                code |= np.roll(shapes, (-dy, -dx), (1, 2)).view(np.uint8) << bit
            shapes &= ~table[code]
        if shapes.sum() == before:
            return shapes


NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Clockwise from the pixel above."""


def _removable() -> tuple[np.ndarray, np.ndarray]:
    """For each of the two half-steps: which of the 256 neighbourhoods let a pixel go."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    neighbours = bits.sum(1)
    runs = ((bits == 0) & (np.roll(bits, -1, 1) == 1)).sum(1)
    north, east, south, west = bits[:, ::2].T
    common = (neighbours >= 2) & (neighbours <= 6) & (runs == 1)
    first = common & (north * east * south == 0) & (east * south * west == 0)
    return first, common & (north * east * west == 0) & (north * south * west == 0)


def draw(fields: np.ndarray, drawers: int, size: int, rng: Rng) -> np.ndarray:
    """Each character as each drawer draws it.

    A drawer has a hand (slant, turn, width, pen) that is the same for all characters of an alphabet; each drawing adds
    its own smaller affine change and an elastic one.

    Args:
        fields: (N, CANVAS, CANVAS), one alphabet's, as ``distance_fields`` gives them.
        drawers: how many.
        size: side of the drawings in pixels.

    Returns:
        uint8 (N, drawers, size, size), ink 255 on 0.
    """
    hands = rng.numpy("hands").uniform(-1, 1, (drawers, 4))
    drawn = np.empty((len(fields), drawers, size, size), np.uint8)
    for field, out, number in zip(fields, drawn, range(len(fields)), strict=True):
        generator = rng.numpy("drawing", number)
        points = _affine(hands, generator, size) + _elastic(drawers, generator, size)
        points = (
            np.rint(points * 256) / 256
        )  # what different processors do in the last bits ends here
        distance = _bilinear(field, points)
        pen = PEN * (1 + PEN_SPREAD * hands[:, 3, None, None])
        pixel = CANVAS / size
        out[:] = np.rint(255 * np.clip((pen - distance) / pixel + 0.5, 0, 1))
    return drawn


PEN, PEN_SPREAD = 3.5, 0.25
TURN, SLANT, STRETCH, SHIFT = 0.13, 0.2, 0.15, 3.5
BEND, KNOTS = 3.2, 5
"""Radius of the pen, and how far a drawing strays: radians, shear, log scale, and canvas pixels."""


def _affine(hands: np.ndarray, generator: np.random.Generator, size: int) -> np.ndarray:
    """Where on the canvas each pixel of each drawing looks, (drawers, 2 (y, x), size, size)."""
    own = generator.uniform(-1, 1, (len(hands), 6))
    turn = TURN * (hands[:, 0] + own[:, 0])
    slant = SLANT * (hands[:, 1] + 0.4 * own[:, 1])
    wide, tall = np.exp(STRETCH * (hands[:, 2] + 0.5 * own[:, 2])), np.exp(STRETCH * own[:, 3])
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.stack(
        [
            np.stack([cos * tall, -sin * tall], 1),
            np.stack([(sin + slant * cos) * wide, cos * wide], 1),
        ],
        1,
    )
    grid = (np.mgrid[:size, :size] + 0.5) * (CANVAS / size) - CANVAS / 2
    centre = CANVAS / 2 - 0.5 + SHIFT * own[:, 4:]
    return np.einsum("dij,jyx->diyx", matrix, grid) + centre[:, :, None, None]


def _elastic(drawers: int, generator: np.random.Generator, size: int) -> np.ndarray:
    """A smooth random displacement in canvas pixels, (drawers, 2, size, size): cubic B-splines on a coarse lattice."""
    knots = generator.standard_normal((drawers, 2, KNOTS + 3, KNOTS + 3)) * BEND
    position = (np.arange(size) + 0.5) * (KNOTS / size)
    t = np.abs(position[:, None] - np.arange(-1, KNOTS + 2))
    near, far = 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6
    spline = np.where(t < 1, near, far)
    return 2 * np.einsum("yk,dckl,xl->dcyx", spline, knots, spline, optimize=True)


def _bilinear(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``field`` at ``points`` (D, 2, H, W), the edge repeated outside."""
    y, x = np.clip(points, 0, CANVAS - 1.001).transpose(1, 0, 2, 3)
    row, column = y.astype(np.int64), x.astype(np.int64)
    y, x, corner = y - row, x - column, row * CANVAS + column
    flat = field.ravel()
    top = flat[corner] * (1 - x) + flat[corner + 1] * x
    bottom = flat[corner + CANVAS] * (1 - x) + flat[corner + CANVAS + 1] * x
    return top * (1 - y) + bottom * y
