"""What a tab's charts draw: curves with bands, accuracy against robustness with its Pareto front, small multiples."""

from __future__ import annotations

import math
from typing import Any

from harness.cells.results import Results
from harness.records import WORST, Record
from harness.report import figures
from harness.report.aggregate import aggregate
from harness.report.derive import ATTACKED

ALONG = {
    **dict.fromkeys(ATTACKED, (figures.robustness, "eps")),
    "corruption": (figures.severities, "severity"),
    "low_data": (figures.learning, "labelled images a class"),
}
"""Kind of protocol -> its curves, and what they run along."""


Means = dict[tuple[figures.Labels, figures.Labels], dict[float, list[float]]]
"""Curves as ``figures`` has them, each point's records summed up as mean, low, high; only finite ones."""


def charts(results: Results, protocol: str) -> list[dict[str, Any]]:
    """Descriptions of charts, in reading order; learners are places in ``results.learners``. None where nothing was measured."""
    kind = results.protocols[protocol]
    if kind not in ALONG:
        return [{"type": "multiples" if kind == "biology" else "dots"}]
    make, along = ALONG[kind]
    curves, panels = make(results, protocol)
    means = {
        key: _finite({x: _summary(points[x], results) for x in sorted(points)})
        for key, points in curves.items()
    }
    drawn = [
        {"title": title, "series": series}
        for title, panel in panels
        if (series := _series(results, means, panel))
    ]
    if not drawn:
        return []
    out: list[dict[str, Any]] = [
        {"type": "curves", "along": along, "log": kind == "low_data", "panels": drawn}
    ]
    if kind in ATTACKED:
        out += _scatters(results, curves, means, panels)
    return out


def _summary(records: list[Record], results: Results) -> list[float]:
    mean = aggregate(records, results.verdicts)
    return [
        round(100 * v, 3)
        for v in (
            mean.value,
            mean.value if mean.low is None else mean.low,
            mean.value if mean.high is None else mean.high,
        )
    ]


def _finite(points: dict[float, list[float]]) -> dict[float, list[float]]:
    return {x: numbers for x, numbers in points.items() if all(map(math.isfinite, numbers))}


def _series(results: Results, means: Means, panel: figures.Labels) -> list[dict[str, Any]]:
    """A learner's points: where, mean, low, high."""
    return [
        {"learner": place, "points": [[x, *numbers] for x, numbers in points.items()]}
        for place, learner in enumerate(results.learners)
        if (points := means.get(((learner,), panel)))
    ]


def _scatters(
    results: Results, curves: figures.Curves, means: Means, panels: figures.Panels
) -> list[dict[str, Any]]:
    """Clean accuracy against that under the worst case (or under the attack there is), at each eps."""
    worst = [(title, panel) for title, panel in panels if WORST in panel] or panels[:1]
    choices = []
    for title, panel in worst:
        own = {
            place: ((learner,), panel)
            for place, learner in enumerate(results.learners)
            if ((learner,), panel) in means
        }
        for eps in sorted({x for key in own.values() for x in means[key]} - {0}):
            points = [
                {
                    "learner": place,
                    "x": means[key][0],
                    "y": means[key][eps],
                    "trusted": all(r.trust != "FAIL" for r in (*curves[key][0], *curves[key][eps])),
                }
                for place, key in own.items()
                if {0, eps} <= means[key].keys()
            ]
            if points:
                choices.append({"title": f"{title}, eps {eps:g}", "points": _front(points)})
    return [{"type": "scatter", "choices": choices}] if choices else []


def _front(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points, each with whether no trusted learner is better in one and at least as good in the other."""
    trusted = [(p["x"][0], p["y"][0]) for p in points if p["trusted"]]
    for point in points:
        x, y = point["x"][0], point["y"][0]
        point["front"] = point["trusted"] and not any(
            a >= x and b >= y and (a, b) != (x, y) for a, b in trusted
        )
    return points
