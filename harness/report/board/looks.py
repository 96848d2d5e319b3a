"""How a learner's weights look: the histogram of their sizes, and its receptive fields as a small picture."""

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
"""Negative, zero, positive (RdBu of ColorBrewer, reversed)."""
STEPS = 31


def _kept(results: Results, records: Sequence[Record], name: str) -> np.ndarray | None:
    """An array that the audit kept, of the first cell that has it."""
    for cell in dict.fromkeys(
        r.cell for r in records if results.protocols.get(r.protocol) == "biology"
    ):
        try:
            return np.asarray(results.verdicts(cell, name), np.float64)
        except KeyError:  # no synapses, or not of the input
            continue
    return None


def log_weights(results: Results, records: Sequence[Record]) -> dict[str, list[float]] | None:
    """Edges and densities of log w over the live synapses of the first bundle."""
    quantiles = _kept(results, records, "log_weight_quantiles")
    if quantiles is None or not np.ptp(quantiles):
        return None
    density, edges = np.histogram((quantiles[1:] + quantiles[:-1]) / 2, bins=BINS, density=True)
    return {
        "edges": [round(float(e), 4) for e in edges],
        "density": [round(float(d), 4) for d in density],
    }


def fields(results: Results, records: Sequence[Record]) -> np.ndarray | None:
    """Receptive fields (units, height, width), channels averaged, each scaled to -1 .. 1."""
    found = _kept(results, records, "receptive_fields")
    if found is None:
        return None
    found = found.mean(1)
    return found / np.maximum(np.abs(found).max(axis=(1, 2), keepdims=True), 1e-12)


def picture(found: np.ndarray) -> str:
    """Fields side by side as the data URI of a PNG: blue negative, red positive, transparent between."""
    from PIL import Image

    side = math.ceil(len(found) ** 0.5)
    high, wide = found.shape[1] + 1, found.shape[2] + 1
    pixels = np.full((-(-len(found) // side) * high - 1, side * wide - 1), STEPS, np.uint8)
    for i, one in enumerate(found):
        row, column = i // side * high, i % side * wide
        pixels[row : row + high - 1, column : column + wide - 1] = np.round(
            (one + 1) / 2 * (STEPS - 1)
        )
    image = Image.fromarray(pixels, "P")
    shades = [
        np.interp(np.linspace(-1, 1, STEPS), (-1, 0, 1), [anchor[c] for anchor in ANCHORS])
        for c in range(3)
    ]
    image.putpalette([*np.round(np.stack(shades, 1)).astype(int).ravel().tolist(), 255, 255, 255])
    out = io.BytesIO()
    image.save(out, "png", transparency=STEPS, optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
