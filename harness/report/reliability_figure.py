"""The reliability diagram: how often a learner is right, against how confident it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from harness.cells.results import Results
from harness.records import Record
from harness.report.canvas import add_legend, legend_height, panels
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.4, 3.2
"""Size of a panel, in inches."""

TITLES = {"plain": "logits as they are", "scaled": "after temperature scaling"}

Bins = dict[int, dict[str, list[Record]]]
"""Number of a bin -> metric -> records, one per seed."""


def reliability_diagram(results: Results, protocol: str) -> Figure | None:
    """Draw a panel for the logits as they are and one for scaled ones, a line for each learner.

    Points of several seeds are means over their images. The area of a marker is the share of the
    images in its bin.

    Returns:
        The figure; None if nothing was measured.
    """
    bins = _bins(results, protocol)
    shown = [name for name in TITLES if any(logits == name for _, logits in bins)]
    if not shown:
        return None
    learners = [name for name in results.learners if any(each == name for each, _ in bins)]
    figure, axes = panels(len(shown), WIDTH, HEIGHT, legend_height(len(learners), 4))
    for axis, logits in zip(axes, shown, strict=True):
        axis.plot([0, 100], [0, 100], color="#888888", linewidth=0.9, linestyle="--")
        for learner in learners:
            _draw(axis, results, learner, bins.get((learner, logits), {}))
        axis.set_title(TITLES[logits], loc="left")
        axis.set(xlim=(0, 102), ylim=(0, 102), xlabel="confidence, %", ylabel="right, %")
    add_legend(figure, axes[0], 4)
    return figure


def _bins(results: Results, protocol: str) -> dict[tuple[str, str], Bins]:
    """(Learner, logits) -> its bins."""
    found: dict[tuple[str, str], Bins] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in results.records:
        if record.protocol == protocol and "bin" in record.setting:
            of_bin = found[record.learner, record.setting["logits"]][record.setting["bin"]]
            of_bin[record.metric].append(record)
    return found


def _draw(axis: Axes, results: Results, learner: str, bins: Bins) -> None:
    """Draw the points of a learner; with intervals (Wilson) where there is one seed."""
    confidence = []
    right = []
    counts = []
    for _, metrics in sorted(bins.items()):
        rights = metrics["right_in_bin"]
        weights = [record.n for record in rights]
        counts.append(sum(weights))
        right.append(100 * np.average([record.value for record in rights], weights=weights))
        means = [record.value for record in metrics["confidence_in_bin"]]
        confidence.append(100 * np.average(means, weights=weights))
    if not counts:
        return
    style = style_of(learner, results)
    axis.plot(confidence, right, label=learner, **{**style, "markersize": 0, "linewidth": 1.0})
    sizes = 6 + 90 * np.array(counts) / sum(counts)
    axis.scatter(confidence, right, s=sizes, color=style["color"], marker=style["marker"])
    for at, metrics in zip(confidence, (bins[key] for key in sorted(bins)), strict=True):
        first, *others = metrics["right_in_bin"]
        if not others and first.low is not None and first.high is not None:
            ends = [100 * first.low, 100 * first.high]
            axis.plot([at, at], ends, color=style["color"], linewidth=0.7)
