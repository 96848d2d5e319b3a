"""Empty figures with panels, and their legend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.cells.results import Results

LETTER = 0.062
"""Width of a letter of a name beside a line, in inches."""
LEGEND_ROW = 0.2
"""Height of one row of a legend, in inches."""


def panels(
    count: int, width: float, height: float, legend: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels in rows of at most three.

    Args:
        count: Number of panels.
        width, height: Size of a panel, in inches.
        legend: Height of the strip below the panels, in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = 2 if count == 4 else min(count, 3)
    down = math.ceil(count / across)
    size = (width * across + 0.4, height * down + legend + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    _leave_below(figure, legend / figure.get_figheight())
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, list(axes[:count])


def legend_height(entries: int, columns: int) -> float:
    """Height of a legend with so many entries, in inches."""
    return LEGEND_ROW * math.ceil(entries / columns) + 0.12


def add_legend(figure: Figure, axis: Axes, columns: int) -> None:
    """Put the legend of ``axis`` below all panels."""
    handles, names = axis.get_legend_handles_labels()
    columns = min(columns, max(1, len(names)))
    figure.legend(handles, names, loc="lower center", ncols=columns, handlelength=2.4)


def name_column(figure: Figure, longest: int, legend: float) -> None:
    """Make room for names on the right in place of a legend below.

    Args:
        figure: Made by ``panels``.
        longest: Letters of the longest name.
        legend: Height of the strip that was left for a legend, in inches.
    """
    width = figure.get_figwidth() + LETTER * longest
    figure.set_size_inches(width, figure.get_figheight() - legend)
    _leave_below(figure, 0.0)


def _leave_below(figure: Figure, share: float) -> None:
    """Keep a share of the height of a figure free of panels."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, share, 1, 1 - share))


def is_first(axis: Axes) -> bool:
    """Whether a panel is the leftmost one of its row."""
    place = axis.get_subplotspec()
    return place is not None and place.is_first_col()


def is_last(axis: Axes) -> bool:
    """Whether there is no panel to the right of it."""
    place = axis.get_subplotspec()
    return place is not None and place.is_last_col()


def add_caption(figure: Figure, results: Results, protocol: str) -> None:
    """Say above all panels what was measured: the dataset, its split, how much, and the seeds."""
    block = results.blocks.get(protocol, {})
    parts = [block[key] for key in ("dataset", "split") if key in block]
    for key in ("images", "episodes"):
        if key in block:
            parts.append(f"{block[key].split()[0].rstrip(',')} {key}")
    if "seeds" in block:
        number = block["seeds"].partition(" ")[0]
        parts.append(f"{number} seed" if number == "1" else f"{number} seeds")
    figure.suptitle(", ".join(parts), x=0.01, ha="left", fontsize=8.5, color="#555555")
