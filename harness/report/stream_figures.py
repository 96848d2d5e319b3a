"""Streams as pictures: the accuracy matrix, each task over the stream, and the stability gap.

Each figure has a panel for each learner (row) and strategy (column). Matrices are means over orders
and seeds; a curve within training is of one order, because steps of several do not fall together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cells.results import Results
from harness.protocols.continual_settings import strategy_place
from harness.records import Record
from harness.report.streams import curve_of, matrices_of
from harness.report.styles import style_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1.9, 1.75
"""Size of a panel, in inches."""

NUMBERED = 6
"""Tasks up to which squares have their numbers written in them."""

DARK = 50.0
"""Accuracy, in percent, below which a square is dark and its number white."""

Panel = tuple[str, str]
"""Learner and strategy."""


def accuracy_matrices(results: Results, protocol: str) -> Figure | None:
    """Draw R: a square for the accuracy on each task (across) after each task (downwards).

    Returns:
        The figure; None if nothing was measured.
    """

    def draw(axis: Axes, matrix: np.ndarray) -> None:
        shown = 100 * matrix[1:]
        axis.grid(visible=False)
        axis.imshow(shown, cmap="cividis", vmin=0, vmax=100)
        if len(shown) <= NUMBERED:
            for (row, column), value in np.ndenumerate(shown):
                colour = "white" if value < DARK else "black"
                axis.text(
                    column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=6
                )
        ticks = _ticks(len(shown))
        places = [tick - 1 for tick in ticks]
        axis.set_xticks(places, map(str, ticks))
        axis.set_yticks(places, map(str, ticks))

    return _figure(results, _matrices(results, protocol), draw, "accuracy on task", "after task")


def tasks_over_stream(results: Results, protocol: str) -> Figure | None:
    """Draw the accuracy on each task from when it was learned to the end, a line for each.

    Returns:
        The figure; None if nothing was measured.
    """

    def draw(axis: Axes, matrix: np.ndarray) -> None:
        tasks = matrix.shape[1]
        for task in range(tasks):
            after = np.arange(task + 1, tasks + 1)
            axis.plot(after, 100 * matrix[after, task], **_line(task, tasks))
        axis.set(ylim=(0, 102), xlim=(0.7, tasks + 0.3))
        axis.set_xticks(_ticks(tasks))

    return _figure(results, _matrices(results, protocol), draw, "after task", "accuracy, %")


def stability_gap(results: Results, protocol: str) -> Figure | None:
    """Draw the accuracy on old tasks within training, in the first order of the first seed.

    Returns:
        The figure; None if old tasks were not watched.
    """
    curves = {}
    for panel, records in _panels(results, protocol).items():
        curve = curve_of(records[0], results)
        if curve is not None:
            curves[panel] = np.column_stack([curve.during, curve.accuracy])

    def draw(axis: Axes, content: np.ndarray) -> None:
        during = content[:, 0]
        tasks = content.shape[1] - 1
        for task in range(tasks):
            axis.plot(100 * content[:, 1 + task], linewidth=0.9, **_line(task, tasks, marked=False))
        for start in np.flatnonzero(np.diff(during)) + 0.5:
            axis.axvline(start, color="#888888", linewidth=0.6, linestyle=":")
        axis.set(ylim=(0, 102))

    return _figure(results, curves, draw, "look at old tasks", "accuracy, %")


MAKERS: dict[str, Callable[[Results, str], Figure | None]] = {
    "": accuracy_matrices,
    "-tasks": tasks_over_stream,
    "-gap": stability_gap,
}
"""Suffix of the file name -> figure."""


def _panels(results: Results, protocol: str) -> dict[Panel, list[Record]]:
    """The accuracies of each learner and strategy, one per seed, in reading order."""
    panels: dict[Panel, list[Record]] = {}
    for record in results.records:
        if record.protocol == protocol and record.metric == "accuracy":
            panel = (record.learner, str(record.setting.get("strategy")))
            panels.setdefault(panel, []).append(record)
    for records in panels.values():
        records.sort(key=lambda record: record.seed)
    return panels


def _matrices(results: Results, protocol: str) -> dict[Panel, np.ndarray]:
    """The mean matrix of each panel, over orders and seeds with as many tasks."""
    means = {}
    for panel, records in _panels(results, protocol).items():
        matrices = [each for record in records for each in matrices_of(record, results)]
        if len({matrix.shape for matrix in matrices}) == 1:
            means[panel] = np.mean(matrices, axis=0)
    return means


def _figure(
    results: Results,
    contents: dict[Panel, np.ndarray],
    draw: Callable[[Axes, np.ndarray], None],
    across: str,
    upwards: str,
) -> Figure | None:
    """A grid of panels; empty where a learner was not measured with a strategy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not contents:
        return None
    measured = {learner for learner, _ in contents}
    learners = [name for name in results.learners if name in measured]
    strategies = sorted({strategy for _, strategy in contents}, key=strategy_place)
    size = (WIDTH * len(strategies) + 0.6, HEIGHT * len(learners) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(learners), len(strategies), squeeze=False)
    for row, learner in enumerate(learners):
        for column, strategy in enumerate(strategies):
            axis = axes[row, column]
            content = contents.get((learner, strategy))
            if content is None:
                axis.set_axis_off()
                continue
            draw(axis, content)
            axis.set_title(f"{learner}, {strategy}", loc="left", fontsize=7.5)
    figure.supxlabel(across, fontsize=9)
    figure.supylabel(upwards, fontsize=9)
    return figure


def _line(task: int, tasks: int, *, marked: bool = True) -> dict[str, Any]:
    """The style of a task's line, the same in every panel."""
    style = style_at(task, task // 8)
    return {**style, "marker": style["marker"] if marked and tasks <= NUMBERED else None}


def _ticks(tasks: int) -> list[int]:
    """Numbers of tasks that are written at an axis, about five."""
    return list(range(1, tasks + 1, max(1, round(tasks / 5))))
