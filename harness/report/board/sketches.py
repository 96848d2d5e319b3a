"""Small charts of a learner's page as SVG paths, so that the page needs no script."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.board.model import Chart

LEFT, TOP, WIDE, HIGH = 8, 6, 304, 108
"""The frame that paths are drawn in, in units of the SVG."""


def curve(title: str, along: str, points: Sequence[tuple[float, float]]) -> Chart:
    """A line through points, from the lowest to the highest value of each axis."""
    xs, ys = zip(*points, strict=True)
    path = "M" + "L".join(_places(xs, ys, (min(xs), max(xs)), (min(ys), max(ys))))
    alt = f"{title}: {_number(ys[0])} at first, {_number(ys[-1])} at the end"
    ends = (min(xs), max(xs), min(ys), max(ys))
    return Chart(title, alt, path, False, along, _numbers(ends))


def histogram(title: str, along: str, edges: Sequence[float], density: Sequence[float]) -> Chart:
    """Bars over intervals, from zero.

    Args:
        title: Above it.
        along: Name of the horizontal axis.
        edges: Of the intervals, one more than there are densities.
        density: Of each interval.
    """
    xs = [edge for edge in edges for _ in range(2)]
    ys = [0.0, *(value for value in density for _ in range(2)), 0.0]
    highest = max(density)
    path = "M" + "L".join(_places(xs, ys, (edges[0], edges[-1]), (0.0, highest))) + "Z"
    alt = f"{title}: from {_number(edges[0])} to {_number(edges[-1])}"
    return Chart(title, alt, path, True, along, _numbers((edges[0], edges[-1], 0.0, highest)))


def _places(
    xs: Sequence[float],
    ys: Sequence[float],
    across: tuple[float, float],
    upwards: tuple[float, float],
) -> list[str]:
    """Points in the frame."""
    return [
        f"{LEFT + WIDE * _share(x, across):.1f} {TOP + HIGH * (1 - _share(y, upwards)):.1f}"
        for x, y in zip(xs, ys, strict=True)
    ]


def _share(value: float, ends: tuple[float, float]) -> float:
    """Position between two ends; in the middle if they are equal."""
    low, high = ends
    return (value - low) / (high - low) if high > low else 0.5


def _numbers(ends: tuple[float, float, float, float]) -> tuple[str, str, str, str]:
    x_low, x_high, y_low, y_high = map(_number, ends)
    return x_low, x_high, y_low, y_high


def _number(value: float) -> str:
    return f"{value:.3g}"
