"""The transfer matrix as a picture: accuracy of each learner on the images made for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.cells.results import Results
from harness.records import NO_ATTACK
from harness.report.aggregate import aggregate
from harness.report.grid import Grid, group

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 0.62
"""Side of a square, in inches."""

DARK = 50.0
"""Accuracy, in percent, below which a square is dark and its number white."""


def transfer_heat_map(results: Results, protocol: str) -> Figure | None:
    """Draw a square for each learner (row) and source (column), with its accuracy in percent.

    Returns:
        The figure; None if nothing was measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = [
        record
        for record in results.records
        if record.protocol == protocol and record.metric == "accuracy"
    ]
    grid = group(records, ("learner",), ("source",))
    learners = [name for name in results.learners if any(row == (name,) for row, _ in grid)]
    if not learners:
        return None
    sources = [NO_ATTACK, *learners]
    values = _values(results, grid, learners, sources)
    size = (CELL * len(sources) + 1.8, CELL * len(learners) + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.grid(visible=False)
    axis.imshow(values, cmap="cividis", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < DARK else "black"
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(sources)), sources, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(learners)), learners)
    axis.set(xlabel="images made for", ylabel="judged by", title="accuracy, %")
    return figure


def _values(results: Results, grid: Grid, learners: list[str], sources: list[str]) -> np.ndarray:
    """Accuracy in percent (learners, sources); NaN where nothing was measured."""
    values = np.full((len(learners), len(sources)), np.nan)
    for row, learner in enumerate(learners):
        for column, source in enumerate(sources):
            records = grid.get(((learner,), (source,)))
            if records:
                values[row, column] = 100 * aggregate(records, results.verdicts).value
    return values
