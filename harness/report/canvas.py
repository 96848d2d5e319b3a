"""Empty figures with panels, and their legend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.cells.results import Results

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
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    across = 2 if count == 4 else min(count, 3)
    down = math.ceil(count / across)
    size = (width * across + 0.4, height * down + legend + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    strip = legend / figure.get_figheight()
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, strip, 1, 1 - strip))
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
