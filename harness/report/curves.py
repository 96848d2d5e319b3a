"""Accuracy along eps, severity or labelled images: the curves, and their figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.cells.results import Results
from harness.records import WORST, Record
from harness.report.aggregate import aggregate
from harness.report.canvas import (
    add_caption,
    add_legend,
    is_first,
    is_last,
    legend_height,
    name_column,
    panels,
)
from harness.report.derive import ATTACKED
from harness.report.end_labels import label_ends
from harness.report.formats import CLEAN, label
from harness.report.grid import Grid, Labels, distinguish, group, ordered
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = dict[float, list[Record]]
"""Position along the axis -> records, one per seed."""

Curves = dict[tuple[Labels, Labels], Points]
"""(learner, panel) -> points."""

Panels = list[tuple[str, Labels]]
"""Title and labels of each panel, in reading order."""

SMALL = (3.2, 2.7)
LARGE = (5.2, 3.4)
"""Size of a panel, in inches."""


# ---------------------------------------------------------------------------------------- curves


def robustness(results: Results, protocol: str) -> tuple[Curves, Panels]:
    """Accuracy along eps: a panel per attack, but none for an attack that always was the worst."""
    keys, grid = accuracy_grid(results, protocol, ("norm", "attack", "eps"))
    keys, curves = _along("eps", keys, grid)
    every = _panels_of(curves, keys, results)
    twins = {
        worst: [panel for panel in every if WORST not in panel and _same(curves, panel, worst)]
        for worst in every
        if WORST in worst
    }
    repeated = [panel for panels in twins.values() for panel in panels]
    titled: Panels = []
    for panel in every:
        if panel not in repeated:
            names = [_attack_title(keys, each) for each in (panel, *twins.get(panel, ()))]
            norm = f" ({panel[0]})" if panel[0] else ""
            titled.append((" = ".join(names) + norm, panel))
    return curves, titled


def _attack_title(keys: tuple[str, ...], panel: Labels) -> str:
    _, *names = [label(key, value) for key, value in zip(keys, panel, strict=True)]
    return " ".join(filter(None, names))


def _same(curves: Curves, one: Labels, other: Labels) -> bool:
    """Whether two panels show the same numbers, so that one of them says it all."""
    return _values(curves, one) == _values(curves, other)


def _values(curves: Curves, panel: Labels) -> dict[Labels, dict[float, list[float]]]:
    """The numbers of a panel, by row and position."""
    return {
        row: {x: [record.value for record in records] for x, records in points.items()}
        for (row, shown), points in curves.items()
        if shown == panel
    }


def proofs(results: Results, protocol: str) -> Curves:
    """Proven accuracy along eps, by the learners and panels of ``robustness``."""
    columns = ("metric", "norm", "attack", "eps")
    keys, grid = share_grid(results, protocol, ("accuracy", "proven"), columns)
    _, curves = _along("eps", keys, grid)
    return {
        (row, panel[1:]): points for (row, panel), points in curves.items() if panel[0] == "proven"
    }


def severities(results: Results, protocol: str) -> tuple[Curves, Panels]:
    """Accuracy along severity, from clean images (0): a panel per corruption and their mean."""
    keys, grid = accuracy_grid(results, protocol, ("corruption", "severity"))
    clean = {row: records for (row, column), records in grid.items() if CLEAN in column}
    keys, corrupted = _along("severity", keys, grid)
    curves: Curves = {}
    for (row, panel), points in corrupted.items():
        curves[row, panel] = {0: clean[row], **points}
    titled = [(" ".join(map(str, panel)), panel) for panel in _panels_of(curves, keys, results)]
    return curves, titled


def learning(results: Results, protocol: str) -> tuple[Curves, Panels]:
    """Accuracy along labelled images per class (their mean, if all are used), in one panel."""
    _, grid = accuracy_grid(results, protocol, ("per_class",))
    curves: Curves = {}
    for (row, _), records in grid.items():
        setting = records[0].setting
        per_class = setting["labelled"] / setting["ways"]
        curves.setdefault((row, ()), {})[per_class] = records
    return curves, [("", ())] if curves else []


def accuracy_grid(
    results: Results, protocol: str, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], Grid]:
    """The accuracies of a protocol by learner and ``columns``, as in ``share_grid``."""
    return share_grid(results, protocol, ("accuracy",), columns)


def share_grid(
    results: Results, protocol: str, metrics: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[tuple[str, ...], Grid]:
    """Some metrics of a protocol by learner and ``columns``.

    Returns:
        The column keys, with those added that separate measurements, and the grid.
    """
    records = [
        record
        for record in results.records
        if record.protocol == protocol and record.metric in metrics
    ]
    keys, records = distinguish(records, ("learner",), columns)
    return keys, group(records, ("learner",), keys)


def _along(key: str, keys: tuple[str, ...], grid: Grid) -> tuple[tuple[str, ...], Curves]:
    """Turn a grid into curves along one of its column keys.

    Returns:
        The other keys, which distinguish panels, and the curves.
    """
    at = keys.index(key)
    curves: Curves = {}
    for (row, column), records in grid.items():
        panel = column[:at] + column[at + 1 :]
        if column[at] is not None:
            curves.setdefault((row, panel), {})[column[at]] = records
    return keys[:at] + keys[at + 1 :], curves


def _panels_of(curves: Curves, keys: tuple[str, ...], results: Results) -> list[Labels]:
    return ordered({panel for _, panel in curves}, keys, results.learners)


AXES: dict[str, tuple[Callable[[Results, str], tuple[Curves, Panels]], str]] = {
    **dict.fromkeys(ATTACKED, (robustness, "eps")),
    "corruption": (severities, "severity"),
    "corruption_benchmark": (severities, "severity"),
    "low_data": (learning, "labelled images a class"),
}
"""Kind of protocol -> its curves, and the name of the axis that they run along."""


# --------------------------------------------------------------------------------------- figures


def curve_figure(results: Results, protocol: str) -> Figure | None:
    """Draw the curves of a protocol: a panel each, a line per learner, 95 % bands.

    Where there are proofs, a hatched band reaches down to what is proven.

    Returns:
        The figure; None if nothing was measured.
    """
    kind = results.protocols[protocol]
    make, axis_name = AXES[kind]
    curves, titled = make(results, protocol)
    if not titled:
        return None
    is_learning = kind == "low_data"
    proven = proofs(results, protocol) if kind in ATTACKED else {}
    learners = [name for name in results.learners if any(row == (name,) for row, _ in curves)]
    width, height = LARGE if is_learning else SMALL
    legend = legend_height(len(learners), 4)
    figure, axes = panels(len(titled), width, height, legend)
    for axis, (title, panel) in zip(axes, titled, strict=True):
        for learner in learners:
            points = curves.get(((learner,), panel), {})
            _draw_curve(axis, results, learner, points)
            _draw_bracket(axis, results, learner, points, proven.get(((learner,), panel), {}))
        axis.set_title(title, loc="left")
        axis.set(ylim=(-2, 102), yticks=range(0, 101, 20), xlabel=axis_name)
        if is_first(axis):
            axis.set_ylabel("accuracy, %")
    add_caption(figure, results, protocol)
    if is_learning:
        _use_log_axis(axes[0], sorted({x for points in curves.values() for x in points}))
    if any(label_ends(axis, results, learners, height) for axis in axes if is_last(axis)):
        name_column(figure, max(map(len, learners)), legend)
    else:
        add_legend(figure, axes[0], 4)
    return figure


def _draw_curve(axis: Axes, results: Results, learner: str, points: Points) -> None:
    if not points:
        return
    positions = sorted(points)
    means = [aggregate(points[x], results.verdicts) for x in positions]
    style = style_of(learner, results)
    axis.plot(positions, [100 * mean.value for mean in means], label=learner, **style)
    low = [100 * (mean.value if mean.low is None else mean.low) for mean in means]
    high = [100 * (mean.value if mean.high is None else mean.high) for mean in means]
    axis.fill_between(positions, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _draw_bracket(
    axis: Axes, results: Results, learner: str, attacked: Points, proven: Points
) -> None:
    """A band from what is proven, a thin dotted line, to what the attack left."""
    positions = sorted(attacked.keys() & proven.keys())
    if not positions:
        return
    low = [100 * aggregate(proven[x], results.verdicts).value for x in positions]
    high = [100 * aggregate(attacked[x], results.verdicts).value for x in positions]
    color = style_of(learner, results)["color"]
    axis.fill_between(
        positions,
        low,
        high,
        facecolor="none",
        edgecolor=color,
        alpha=0.35,
        hatch="///",
        linewidth=0,
    )
    axis.plot(positions, low, color=color, linewidth=0.9, linestyle=":")


def _use_log_axis(axis: Axes, ticks: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{x:.4g}" for x in ticks])
    axis.minorticks_off()
