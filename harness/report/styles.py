"""How figures look: fonts and lines, and the colour, marker and dash that tell learners apart."""

from __future__ import annotations

from typing import Any

from harness.cells.results import Results

# Okabe & Ito's colours, told apart by colour-blind readers; their yellow is too pale for a line and is grey here.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", ":", "-.")

# Type 42: the outlines of the font itself are embedded, as publishers ask; they refuse matplotlib's default, Type 3.
STYLE = {
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
    """Colour, marker and dash of a learner: the same in every figure of a suite. Marker and dash alone tell 32 of them apart, as
    they must in grey.
    """
    place = (
        results.learners.index(learner) if learner in results.learners else len(results.learners)
    )
    turn = place // len(COLOURS)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[(place + turn) % len(DASHES)],
    }
