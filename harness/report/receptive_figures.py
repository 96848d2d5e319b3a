"""Receptive fields as physiologists print them: fields, the plane of n_x and n_y, and tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.cells.results import Results
from harness.metrics.macaque import (
    FREQUENCIES,
    FREQUENCY_EDGES,
    ORIENTATIONS,
    SHAPE_EDGES,
    SHAPES,
)
from harness.report.biology_figures import mosaic
from harness.report.grid import numbers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 36
"""Fields in a mosaic."""

BLUE = "#0072B2"
GREY = "#BBBBBB"
OCTAVES = np.arange(-2.25, 2.5, 0.5)
BARS = np.arange(-22.5, 180, 45)


def receptive_fields(results: Results, protocol: str) -> Figure | None:
    """Draw a row for each learner's first seed; grey is macaque V1.

    Fields without their mean, each with its own scale; n_x and n_y of those that are Gabors; their
    orientations; their frequencies in octaves from the median.
    """
    described: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for learner in results.learners:
        for record in numbers_of(results, protocol, "rf_r2", {}, learner)[:1]:
            try:
                described[learner] = (
                    np.asarray(results.verdicts(record.cell, "fields")),
                    np.asarray(results.verdicts(record.cell, "gabors")),
                )
            except KeyError:  # a board carries the arrays of some learners only
                continue
    if not described:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 2.15 * len(described) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(described), 4, squeeze=False)
    for row, (learner, (fields, gabors)) in zip(axes, described.items(), strict=True):
        _draw_fields(row[0], learner, fields)
        is_gabor = gabors[:, 5] > 0
        chosen = gabors[is_gabor]
        row[1].set_title(f"{len(chosen)} of {len(gabors)} are Gabors", loc="left")
        _draw_plane(row[1], chosen[:, 3], chosen[:, 4])
        _draw_orientations(row[2], np.degrees(chosen[:, 1]))
        _draw_frequencies(row[3], chosen[:, 2])
    return figure


def _draw_fields(axis: Axes, learner: str, fields: np.ndarray) -> None:
    shown = fields[:SHOWN] - fields[:SHOWN].mean((1, 2), keepdims=True)
    axis.imshow(mosaic(shown), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axis.set_title(learner, loc="left")
    axis.set_axis_off()


def _draw_plane(axis: Axes, nx: np.ndarray, ny: np.ndarray) -> None:
    """A dot for each unit, over the counts of neurons."""
    axis.pcolormesh(SHAPE_EDGES, SHAPE_EDGES, SHAPES.T, cmap="Greys", vmax=2 * SHAPES.max())
    axis.plot(nx, ny, ".", color=BLUE, markersize=4)
    axis.set(xscale="log", yscale="log", xlim=(0.05, 3), ylim=(0.05, 3))
    axis.set(xlabel="n_x, periods across", ylabel="n_y, along")
    axis.set_aspect("equal")


def _draw_orientations(axis: Axes, degrees: np.ndarray) -> None:
    """Shares of units by the angle across the stripes."""
    turned = np.where(degrees >= BARS[-1], degrees - 180, degrees)
    _draw_shares(axis, turned, BARS, ORIENTATIONS / ORIENTATIONS.sum())
    axis.set(xlabel="grating vector, degrees", xticks=(0, 45, 90, 135))


def _draw_frequencies(axis: Axes, frequencies: np.ndarray) -> None:
    """Shares of units by octaves from the median."""
    logs = np.log2(FREQUENCY_EDGES)
    centres = np.repeat((logs[1:] + logs[:-1]) / 2, FREQUENCIES)
    macaque = np.histogram(centres - np.median(centres), OCTAVES)[0] / len(centres)
    own = np.log2(frequencies)
    own = own - np.median(own) if len(own) else own
    _draw_shares(axis, own, OCTAVES, macaque)
    axis.set_xlabel("octaves from median")


def _draw_shares(axis: Axes, values: np.ndarray, edges: np.ndarray, neurons: np.ndarray) -> None:
    shares = np.histogram(values, edges)[0] / max(len(values), 1)
    axis.stairs(neurons, edges, fill=True, color=GREY)
    axis.stairs(shares, edges, color=BLUE, linewidth=1.6)
    axis.set_ylabel("share of units")


MAKERS: dict[str, Callable[[Results, str], Figure | None]] = {"": receptive_fields}
"""Suffix of the file name -> figure; None if a protocol has nothing to show."""
