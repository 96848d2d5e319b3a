"""What the charts of a tab draw: curves with bands, and clean accuracy against robustness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.budgets import words
from harness.cells.results import Results
from harness.records import WORST, Record
from harness.report.aggregate import aggregate
from harness.report.curves import AXES, Curves, Panels, Points, proofs
from harness.report.derive import ATTACKED
from harness.report.grid import Labels

Means = dict[tuple[Labels, Labels], dict[float, list[float]]]
"""(learner, panel) -> position -> mean, low, high; only finite ones."""


def charts(results: Results, protocol: str) -> list[dict[str, Any]]:
    """Describe the charts of a protocol, in reading order.

    Learners are positions in ``results.learners``. There are no charts if nothing was measured.
    """
    kind = results.protocols[protocol]
    if kind not in AXES:
        return [{"type": "multiples" if kind == "biology" else "dots"}]
    make, axis_name = AXES[kind]
    curves, panels = make(results, protocol)
    means = {key: _means(points, results) for key, points in curves.items()}
    proven: Means = {}
    if kind in ATTACKED:
        found = proofs(results, protocol)
        proven = {key: _means(points, results) for key, points in found.items()}
    drawn = []
    for title, panel in panels:
        series = _series(results, means, proven, panel)
        if series:
            drawn.append({"title": title, "series": series})
    if not drawn:
        return []
    described: list[dict[str, Any]] = [
        {"type": "curves", "along": axis_name, "log": kind == "low_data", "panels": drawn}
    ]
    if kind in ATTACKED:
        described += _scatters(results, curves, means, panels)
    return described


def _means(points: Points, results: Results) -> dict[float, list[float]]:
    """Position -> mean, low, high in percent; numbers that are not finite are left out."""
    means = {}
    for x in sorted(points):
        mean = aggregate(points[x], results.verdicts)
        low = mean.value if mean.low is None else mean.low
        high = mean.value if mean.high is None else mean.high
        numbers = [round(100 * value, 3) for value in (mean.value, low, high)]
        if all(map(math.isfinite, numbers)):
            means[x] = numbers
    return means


def _series(results: Results, means: Means, proven: Means, panel: Labels) -> list[dict[str, Any]]:
    """The points of each learner in a panel: position, mean, low, high; where proven, that mean."""
    series = []
    for place, learner in enumerate(results.learners):
        points = means.get(((learner,), panel))
        if not points:
            continue
        one: dict[str, Any] = {"learner": place}
        one["points"] = [[x, *numbers] for x, numbers in points.items()]
        below = proven.get(((learner,), panel), {})
        if below.keys() & points.keys():
            one["proven"] = [[x, below[x][0], points[x][0]] for x in points if x in below]
        series.append(one)
    return series


def _scatters(
    results: Results, curves: Curves, means: Means, panels: Panels
) -> list[dict[str, Any]]:
    """Describe clean accuracy against the worst case, or against the first attack, at each eps."""
    worst = [(title, panel) for title, panel in panels if WORST in panel] or panels[:1]
    choices = []
    for title, panel in worst:
        keys = {
            place: ((learner,), panel)
            for place, learner in enumerate(results.learners)
            if ((learner,), panel) in means
        }
        for eps in sorted({x for key in keys.values() for x in means[key]} - {0}):
            points = []
            for place, key in keys.items():
                if {0, eps} <= means[key].keys():
                    records = [*curves[key][0], *curves[key][eps]]
                    points.append(_point(place, means[key][0], means[key][eps], records))
            if points:
                _mark_front(points)
                choices.append({"title": f"{title}, eps {words(eps)}", "points": points})
    return [{"type": "scatter", "choices": choices}] if choices else []


def _point(
    place: int, clean: list[float], robust: list[float], records: Sequence[Record]
) -> dict[str, Any]:
    trusted = all(record.trust != "FAIL" for record in records)
    return {"learner": place, "x": clean, "y": robust, "trusted": trusted}


def _mark_front(points: list[dict[str, Any]]) -> None:
    """Mark the Pareto front.

    A trusted point is on it if no other trusted point is at least as good in both numbers and
    better in one.
    """
    trusted = [(point["x"][0], point["y"][0]) for point in points if point["trusted"]]
    for point in points:
        x, y = point["x"][0], point["y"][0]
        dominated = any(a >= x and b >= y and (a, b) != (x, y) for a, b in trusted)
        point["front"] = point["trusted"] and not dominated
