"""What a tab's charts draw: curves with bands, accuracy against robustness with its Pareto front, small multiples."""

from __future__ import annotations

import math
from typing import Any

from harness.records import Record
from harness.report import figures
from harness.report.aggregate import aggregate
from harness.report.derive import ATTACKED, WORST
from harness.report.results import Results

ALONG = {**dict.fromkeys(ATTACKED, (figures.robustness, "eps")), "corruption": (figures.severities, "severity"),
         "low_data": (figures.learning, "labelled images a class")}
"""Kind of protocol -> its curves, and what they run along."""


def charts(results: Results, protocol: str) -> list[dict[str, Any]]:
    """Descriptions of charts, in reading order; learners are places in ``results.learners``."""
    kind = results.protocols[protocol]
    if kind not in ALONG:
        return [{"type": "multiples" if kind == "biology" else "dots"}]
    make, along = ALONG[kind]
    curves, panels = make(results, protocol)
    drawn = [{"title": title, "series": series} for title, panel in panels if (series := _series(results, curves, panel))]
    if not drawn:
        return []
    out: list[dict[str, Any]] = [{"type": "curves", "along": along, "log": kind == "low_data", "panels": drawn}]
    if kind in ATTACKED:
        out += _scatters(results, curves, panels)
    return out


def _series(results: Results, curves: figures.Curves, panel: figures.Labels) -> list[dict[str, Any]]:
    """A learner's points: where, mean, low, high."""
    return [{"learner": place, "points": points} for place, learner in enumerate(results.learners)
            if (points := _points(curves.get(((learner,), panel), {}), results))]


def _points(found: dict[float, list[Record]], results: Results) -> list[list[float]]:
    """What can be drawn of one curve."""
    points = [[x, *_summary(found[x], results)] for x in sorted(found)]
    return [point for point in points if all(map(math.isfinite, point))]


def _summary(records: list[Record], results: Results) -> list[float]:
    mean = aggregate(records, results.verdicts)
    return [round(100 * v, 3) for v in (mean.value, mean.value if mean.low is None else mean.low,
                                        mean.value if mean.high is None else mean.high)]


def _scatters(results: Results, curves: figures.Curves, panels: figures.Panels) -> list[dict[str, Any]]:
    """Clean accuracy against that under the worst case (or under the attack there is), at each eps."""
    worst = [(title, panel) for title, panel in panels if WORST in panel] or panels[:1]
    choices = []
    for title, panel in worst:
        own = {learner: points for place, learner in enumerate(results.learners) if (points := curves.get(((learner,), panel)))}
        for eps in sorted({x for points in own.values() for x in points} - {0}):
            found = [(learner, points[0], points[eps]) for learner, points in own.items() if 0 in points and eps in points]
            if points := _front(results, found):
                choices.append({"title": f"{title}, eps {eps:g}", "points": points})
    return [{"type": "scatter", "choices": choices}] if choices else []


def _front(results: Results, found: list[tuple[str, list[Record], list[Record]]]) -> list[dict[str, Any]]:
    """Points, each with whether no trusted learner is better in one and at least as good in the other."""
    points = [{"learner": results.learners.index(learner), "x": _summary(clean, results), "y": _summary(attacked, results),
               "trusted": all(r.trust != "FAIL" for r in (*clean, *attacked))} for learner, clean, attacked in found]
    points = [point for point in points if all(map(math.isfinite, (*point["x"], *point["y"])))]
    trusted = [(p["x"][0], p["y"][0]) for p in points if p["trusted"]]
    for point in points:
        x, y = point["x"][0], point["y"][0]
        point["front"] = point["trusted"] and not any(a >= x and b >= y and (a, b) != (x, y) for a, b in trusted)
    return points
