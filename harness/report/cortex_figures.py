"""Figures that put learners beside cortex: ranges of recordings, and eigenspectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cells.results import Results
from harness.metrics.cortex import BY_METRIC, REFERENCES, Reference
from harness.report.canvas import add_legend, legend_height, panels
from harness.report.cortex_notes import has_references
from harness.report.formats import is_percent, metric_name
from harness.report.grid import numbers_of
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = "#D9D9D9"
LEGEND_COLUMNS = 4


def beside_cortex(results: Results, protocol: str) -> Figure | None:
    """Draw each number with a reference: a dot per learner and seed, and the range of cortex.

    Filled dots are inside the range, hollow ones outside.
    """
    if not has_references(results.blocks.get(protocol, {})):
        return None
    shown = [
        reference
        for reference in REFERENCES
        if reference.low is not None and _values(results, protocol, reference.metric)
    ]
    if not shown:
        return None
    height = 0.9 + 0.17 * len(results.learners)
    figure, axes = panels(len(shown), 2.6, height)
    for axis, reference in zip(axes, shown, strict=True):
        _draw_reference(axis, reference, _values(results, protocol, reference.metric))
    return figure


def _values(results: Results, protocol: str, metric: str) -> dict[str, list[float]]:
    """Learner -> the number of each seed."""
    found = {}
    for learner in results.learners:
        records = numbers_of(results, protocol, metric, {}, learner)
        if records:
            found[learner] = [record.value for record in records]
    return found


def _draw_reference(axis: Axes, reference: Reference, values: dict[str, list[float]]) -> None:
    """A row per learner, over the band of the reference."""
    assert reference.low is not None and reference.high is not None
    scale = 100 if is_percent(reference.metric) else 1
    axis.axvspan(scale * reference.low, scale * reference.high, color=BAND, linewidth=0)
    if reference.value is not None:
        axis.axvline(scale * reference.value, color="#666666", linewidth=0.9)
    for row, numbers in enumerate(values.values()):
        for number in numbers:
            is_inside = reference.standing(number) == "inside"
            face = "#0072B2" if is_inside else "white"
            axis.plot(
                scale * number,
                row,
                "o",
                markersize=5,
                color="#0072B2",
                markerfacecolor=face,
            )
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_title(metric_name(reference.metric), loc="left")
    axis.set_xlabel(f"grey: {reference.source}", fontsize=7.5)


def spectra(results: Results, protocol: str) -> Figure | None:
    """Draw the variance of each principal component, of the first seed, relative to the first.

    The dotted line is mouse V1 on natural images.
    """
    drawn = {}
    for learner in results.learners:
        for record in numbers_of(results, protocol, "spectrum_exponent", {}, learner)[:1]:
            try:
                drawn[learner] = np.asarray(results.verdicts(record.cell, "spectrum"))
                pixels = np.asarray(results.verdicts(record.cell, "spectrum_pixels"))
            except KeyError:  # A board carries the arrays of some learners only.
                continue
    if not drawn:
        return None
    figure, (axis,) = panels(1, 4.6, 3.4, legend_height(len(drawn) + 2, LEGEND_COLUMNS))
    for learner, variances in drawn.items():
        look = style_of(learner, results) | {"marker": "", "linewidth": 1.3}
        _draw_spectrum(axis, variances, label=learner, **look)
    _draw_spectrum(axis, pixels, label="pixels", color="#888888", linewidth=2.5, zorder=0)
    exponent = BY_METRIC["spectrum_exponent"].value
    assert exponent is not None
    longest = max(map(len, [*drawn.values(), pixels]))
    n = np.arange(1, longest + 1)
    axis.plot(n, n**-exponent, ":", color="black", label=f"mouse V1: {exponent:g}")
    axis.set(xscale="log", yscale="log", xlabel="principal component", ylabel="variance")
    axis.set_ylim(bottom=1e-5)
    add_legend(figure, axis, LEGEND_COLUMNS)
    return figure


def _draw_spectrum(axis: Axes, variances: np.ndarray, **look: Any) -> None:
    positive = variances[variances > 0]
    axis.plot(np.arange(1, len(positive) + 1), positive / positive[0], **look)
