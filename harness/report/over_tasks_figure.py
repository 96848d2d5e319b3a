"""Performance profiles: the share of a learner's runs, over all tasks, above each score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.report.canvas import add_legend, legend_height, panels
from harness.report.figures import write_file
from harness.report.formats import metric_name
from harness.report.over_tasks import Scores, profiles
from harness.report.styles import COLOURS, style_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLDS = np.linspace(0, 1, 201)
MARKS = 25
"""Thresholds from one marker to the next."""


def profile_figure(scores: Scores) -> Figure:
    """Draw the profiles with 95 % bands, a line for each learner, the best first.

    Where one line is above another everywhere, its learner is better at every score.
    """
    columns = 4
    figure, (axis,) = panels(1, 5.2, 3.4, legend_height(len(scores.learners), columns))
    for learner, found in profiles(scores, THRESHOLDS).items():
        place = scores.places[learner]
        style = style_at(place, place + place // len(COLOURS))
        axis.step(THRESHOLDS, found.share, where="post", label=learner, markevery=MARKS, **style)
        if found.low is not None and found.high is not None:
            color = style["color"]
            axis.fill_between(
                THRESHOLDS,
                found.low,
                found.high,
                step="post",
                color=color,
                alpha=0.13,
                linewidth=0,
            )
    seeds = sorted({len(own) for own in scores.learners.values()})
    axis.set_title(f"{len(scores.tasks)} tasks, seeds: {' or '.join(map(str, seeds))}")
    axis.set_xlabel(f"{metric_name(scores.metric)} above")
    axis.set_ylabel("share of runs")
    axis.set_ylim(0, 1.02)
    axis.set_xlim(0, 1)
    add_legend(figure, axis, columns)
    return figure


def write(scores: Scores, path: Path) -> None:
    """Write the profiles as PDF or PNG, by the ending of the file name."""
    write_file(lambda: profile_figure(scores), path)
