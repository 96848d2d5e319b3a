"""How accuracy spreads over episodes, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.cells.results import Results
from harness.records import Record
from harness.report.aggregate import aggregate
from harness.report.canvas import add_caption, panels
from harness.report.curves import accuracy_grid
from harness.report.formats import error_bar, label
from harness.report.grid import ordered
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BIN = 0.025
"""Width of a bin, as a share of all queries; about, because bins hold whole accuracies."""


def episode_accuracies(results: Results, protocol: str) -> Figure | None:
    """Draw a panel per (ways, shots), with a ridge per learner and its mean with interval.

    A dotted line marks chance, where it is not left of the panel.

    Returns:
        The figure; None if nothing was measured.
    """
    keys, grid = accuracy_grid(results, protocol, ("ways", "shots"))
    shown = ordered({column for _, column in grid}, keys, results.learners)
    if not shown:
        return None
    learners = [name for name in results.learners if any(row == (name,) for row, _ in grid)]
    figure, axes = panels(len(shown), 3.9, 0.34 * len(learners) + 0.9)
    for axis, panel in zip(axes, shown, strict=True):
        records = {name: grid.get(((name,), panel), []) for name in learners}
        labels = [label(key, value) for key, value in zip(keys, panel, strict=True)]
        axis.set_title(" ".join(filter(None, labels)), loc="left")
        _draw_panel(axis, results, records)
        ways = dict(zip(keys, panel, strict=True)).get("ways")
        if ways:
            axis.axvline(100 / ways, color="#555555", linewidth=0.9, linestyle=":", zorder=0)
    add_caption(figure, results, protocol)
    return figure


def _draw_panel(axis: Axes, results: Results, records: dict[str, list[Record]]) -> None:
    """Draw the ridges of one panel, the first learner at the top."""
    everything = [record for group in records.values() for record in group]
    edges = bin_edges(_episodes(everything, results))
    upwards = list(reversed(records))
    for height, learner in enumerate(upwards):
        if records[learner]:
            _draw_ridge(axis, results, learner, height, records[learner], edges)
    axis.set(
        xlim=(max(0, 100 * edges[0]), 103),
        ylim=(-0.3, len(records)),
        xlabel="accuracy of an episode, %",
        yticks=range(len(records)),
    )
    axis.set_yticklabels(upwards)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


def _episodes(records: Sequence[Record], results: Results) -> list[np.ndarray]:
    """The stored accuracies of episodes, one array per record."""
    return [
        np.asarray(results.verdicts(record.cell, record.verdicts))
        for record in records
        if record.verdicts is not None
    ]


def bin_edges(values: Sequence[np.ndarray]) -> np.ndarray:
    """Edges of bins, about ``BIN`` wide, that each hold equally many possible accuracies.

    Args:
        values: Accuracies of episodes, which are multiples of one share.
    """
    possible = np.array([0.0, 1.0])
    if values:
        possible = np.unique(np.round(np.concatenate(values), 9))
    step = np.diff(possible).min() if len(possible) > 1 else 1.0
    width = step * np.ceil(BIN / step - 1e-9)
    top = 1 + step / 2
    edges: np.ndarray = top - width * np.arange(np.ceil((top - possible[0]) / width) + 2)[::-1]
    return edges


def _draw_ridge(
    axis: Axes,
    results: Results,
    learner: str,
    base: int,
    records: list[Record],
    edges: np.ndarray,
) -> None:
    """Draw the share of episodes in each bin, and the mean with its interval."""
    colour = style_of(learner, results)["color"]
    episodes = _episodes(records, results)
    if episodes:
        counts = np.histogram(np.concatenate(episodes), bins=edges)[0]
        ridge = base + 0.75 * counts / max(1, counts.max())
        axis.stairs(
            ridge, 100 * edges, baseline=base, color=colour, fill=True, alpha=0.28, linewidth=0
        )
        axis.stairs(ridge, 100 * edges, baseline=base, color=colour, linewidth=0.7)
    mean = aggregate(records, results.verdicts)
    text = f"{100 * mean.value:.1f}"
    error = error_bar("accuracy", mean.value, mean.low, mean.high)
    if mean.low is not None and mean.high is not None:
        text += f" {error}"
        ends = [100 * mean.low, 100 * mean.high]
        axis.plot(ends, [base, base], color=colour, linewidth=4, solid_capstyle="butt")
    axis.plot(
        [100 * mean.value], [base], marker="|", markersize=9, markeredgewidth=1.8, color=colour
    )
    right_of_panel = axis.get_yaxis_transform()
    axis.text(1.01, base, text, color="#333333", va="center", fontsize=8, transform=right_of_panel)
