"""Figures that a suite asks for: one number of some learners against another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cells.results import Results
from harness.report.aggregate import Aggregate, aggregate
from harness.report.canvas import add_legend, legend_height, panels
from harness.report.curves import LARGE
from harness.report.formats import describe, is_percent, metric_name
from harness.report.grid import numbers_of
from harness.report.styles import style_at
from harness.suite.specs.figures import FigureSpec, NumberSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

CORNERS = ((True, True), (True, False), (False, True), (False, False))
"""Where a name may be, in order: whether right of its point, and whether above it."""


@dataclass(frozen=True)
class Point:
    """A learner in a figure; percentages are from 0 to 100."""

    learner: str
    x: Aggregate
    y: Aggregate


def tradeoff(results: Results, spec: FigureSpec) -> Figure:
    """Draw points with 95 % intervals both ways; each has its learner's name."""
    width, height = LARGE
    figure, (axis,) = panels(1, width, height, legend_height(len(spec.lines), 3))
    drawn = []
    for place, (name, learners) in enumerate(spec.lines.items()):
        points = [point for learner in learners if (point := _point(results, spec, learner))]
        if points:
            style = style_at(place, place)
            _draw_line(axis, name, points, style)
            drawn += [(point, style["color"]) for point in points]
    _name_axis(spec.x, axis.set_xlabel, axis.set_xscale)
    _name_axis(spec.y, axis.set_ylabel, axis.set_yscale)
    axis.set_title(spec.title, loc="left")
    add_legend(figure, axis, 3)
    _name_points(figure, axis, drawn)
    return figure


def _point(results: Results, spec: FigureSpec, learner: str) -> Point | None:
    """A learner's point; None unless both numbers were measured."""
    x = _number(results, spec.x, learner)
    y = _number(results, spec.y, learner)
    return Point(learner, x, y) if x and y else None


def _number(results: Results, spec: NumberSpec, learner: str) -> Aggregate | None:
    """A learner's number for an axis; None if it was not measured."""
    if spec.protocol is None:
        return _config_value(results.configs.get(learner, {}).get(str(spec.config)))
    records = numbers_of(results, spec.protocol, spec.metric, spec.setting, learner)
    if not records:
        return None
    mean = aggregate(records, results.verdicts)
    if not is_percent(spec.metric):
        return mean
    return Aggregate(
        100 * mean.value,
        None if mean.low is None else 100 * mean.low,
        None if mean.high is None else 100 * mean.high,
    )


def _config_value(value: Any) -> Aggregate | None:
    """A value of a learner's config, or the mean of several that ``match`` chose."""
    if value is None:
        return None
    values = list(value.values()) if isinstance(value, dict) else [value]
    return Aggregate(float(np.mean(values)), None, None) if values else None


def _draw_line(axis: Axes, name: str, points: list[Point], style: dict[str, Any]) -> None:
    """Draw points and their intervals, joined in the order given."""
    colour = style["color"]
    for point in points:
        x, y = point.x, point.y
        if y.low is not None and y.high is not None:
            axis.plot([x.value] * 2, [y.low, y.high], color=colour, linewidth=0.8)
        if x.low is not None and x.high is not None:
            axis.plot([x.low, x.high], [y.value] * 2, color=colour, linewidth=0.8)
    xs = [point.x.value for point in points]
    ys = [point.y.value for point in points]
    axis.plot(xs, ys, label=name, **style)


def _name_points(figure: Figure, axis: Axes, points: list[tuple[Point, str]]) -> None:
    """Write each learner's name beside its point, where it covers no other name and no point.

    A name without such a place is left out: names on top of each other tell nothing, and the legend
    says which line the point is on.
    """
    figure.draw_without_rendering()  # settles where everything is
    at = axis.transData.transform([(each.x.value, each.y.value) for each, _ in points])
    taken: list[Bbox] = []
    for place, (point, colour) in enumerate(points):
        others = np.delete(at, place, axis=0)
        for right, above in CORNERS:
            name = axis.annotate(
                point.learner,
                (point.x.value, point.y.value),
                xytext=(4 if right else -4, 4 if above else -4),
                textcoords="offset points",
                ha="left" if right else "right",
                va="bottom" if above else "top",
                fontsize=6.5,
                color=colour,
            )
            box = name.get_window_extent()
            if not box.count_overlaps(taken) and not any(box.contains(*each) for each in others):
                taken.append(box)
                break
            name.remove()


def _name_axis(
    spec: NumberSpec, set_name: Callable[[str], Any], set_scale: Callable[[str], Any]
) -> None:
    if spec.config:
        set_name(spec.config.replace("_", " "))
    else:
        name = [metric_name(spec.metric), describe(spec.setting)]
        set_name(", ".join(filter(None, name)))
    if spec.log:
        set_scale("log")
