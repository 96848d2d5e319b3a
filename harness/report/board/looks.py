"""How a learner's weights look: a histogram of their sizes, and a picture of receptive fields."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np

from harness.cells.results import Results
from harness.records import Record

BINS = 40

ANCHORS = ((33, 102, 172), (247, 247, 247), (178, 24, 43))
"""Colours of negative, zero and positive weights (RdBu of ColorBrewer, reversed)."""

STEPS = 31
"""Shades between them."""


def log_weights(results: Results, records: Sequence[Record]) -> dict[str, list[float]] | None:
    """Edges and densities of log w over the live synapses of the first bundle."""
    quantiles = _stored(results, records, "log_weight_quantiles")
    if quantiles is None or not np.ptp(quantiles):
        return None
    sample = (quantiles[1:] + quantiles[:-1]) / 2
    density, edges = np.histogram(sample, bins=BINS, density=True)
    return {
        "edges": [round(float(edge), 4) for edge in edges],
        "density": [round(float(value), 4) for value in density],
    }


def receptive_fields(results: Results, records: Sequence[Record]) -> np.ndarray | None:
    """Receptive fields (units, height, width), channels averaged, each scaled to -1 .. 1."""
    stored = _stored(results, records, "receptive_fields")
    if stored is None:
        return None
    fields = stored.mean(1)
    largest = np.abs(fields).max(axis=(1, 2), keepdims=True)
    scaled: np.ndarray = fields / np.maximum(largest, 1e-12)
    return scaled


def _stored(results: Results, records: Sequence[Record], name: str) -> np.ndarray | None:
    """An array that the biology audit stored, from the first cell that has it."""
    audits = [record for record in records if results.protocols.get(record.protocol) == "biology"]
    for cell in dict.fromkeys(record.cell for record in audits):
        try:
            return np.asarray(results.verdicts(cell, name), np.float64)
        except KeyError:  # The learner has no synapses, or none from the input.
            continue
    return None


def picture(fields: np.ndarray) -> str:
    """Draw receptive fields side by side: negative blue, positive red, transparent gaps.

    Args:
        fields: (units, height, width), from -1 to 1.

    Returns:
        A PNG as data URI.
    """
    from PIL import Image

    side = math.ceil(len(fields) ** 0.5)
    height = fields.shape[1] + 1
    width = fields.shape[2] + 1
    rows = math.ceil(len(fields) / side)
    transparent = STEPS
    pixels = np.full((rows * height - 1, side * width - 1), transparent, np.uint8)
    for i, field in enumerate(fields):
        top = i // side * height
        left = i % side * width
        shades = np.round((field + 1) / 2 * (STEPS - 1))
        pixels[top : top + height - 1, left : left + width - 1] = shades
    image = Image.fromarray(pixels, "P")
    image.putpalette([*_palette(), 255, 255, 255])
    out = io.BytesIO()
    image.save(out, "png", transparency=transparent, optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _palette() -> list[int]:
    """Red, green and blue of each shade, one after the other."""
    positions = np.linspace(-1, 1, STEPS)
    channels = []
    for channel in range(3):
        anchors = [colour[channel] for colour in ANCHORS]
        channels.append(np.interp(positions, (-1, 0, 1), anchors))
    palette: list[int] = np.round(np.stack(channels, 1)).astype(int).ravel().tolist()
    return palette
