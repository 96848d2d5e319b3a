"""How figures look: fonts and lines, and the colour, marker and dash of each learner."""

from __future__ import annotations

from typing import Any

from harness.cells.results import Results

# Okabe & Ito's colours, which colour-blind readers can distinguish. Their yellow is too pale for a
# line; grey, purple and brown, which differ in lightness, make ten with the rest.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#000000", "#888888", "#5B2A86", "#8C5A2B"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "h")
DASHES = ("-", "--", ":", "-.")

STYLE: dict[Any, Any] = {
    # Type 42 embeds the font's own outlines. Publishers refuse matplotlib's default, Type 3.
    "pdf.fonttype": 42,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
}


def style_of(learner: str, results: Results) -> dict[str, Any]:
    """Colour, marker and dash of a learner, the same in every figure of a suite.

    Colours and markers distinguish ten; marker and dash together 20, for prints in grey.
    """
    place = len(results.learners)
    if learner in results.learners:
        place = results.learners.index(learner)
    # Once the colours are used up, each further round shifts the dashes.
    return style_at(place, place + place // len(COLOURS))


def style_at(place: int, dash: int) -> dict[str, Any]:
    """The colour and marker at ``place``, and the dash at ``dash``; all repeat from the start."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[dash % len(DASHES)],
    }
