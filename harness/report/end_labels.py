"""Names at the ends of lines, which spare the reader a legend where there is room for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harness.cells.results import Results

AROUND = 0.75
"""Height of the title and the labels of a panel, in inches."""
LINE = 0.135
"""Height of a name, in inches."""
FURTHEST = 0.6
"""How many heights a name may be away from the end of its line."""
FONT_SIZE = 8


def label_ends(axis: Axes, results: Results, learners: Sequence[str], height: float) -> bool:
    """Name all lines of a panel at their right ends, in their colours.

    Args:
        axis: a panel whose lines are labelled with the names of learners.
        results: of the suite, in whose figures learners have the same colours.
        learners: that are to be named.
        height: of the panel, its title and its labels included, in inches.

    Returns:
        Whether there was room, and each has a line; otherwise nothing is written.
    """
    ends: dict[str, tuple[float, float]] = {}
    for line in axis.get_lines():
        name = str(line.get_label())
        if not name.startswith("_"):  # matplotlib's own names of lines without one
            x, y = np.asarray(line.get_xydata(), float)[-1].tolist()
            ends[name] = (x, y)
    low, high = axis.get_ylim()
    unit = (high - low) / (height - AROUND)
    places = spread({name: y for name, (_, y) in ends.items()}, LINE * unit, low)
    if places is None or ends.keys() != set(learners):
        return False
    right = max(x for x, _ in ends.values())
    for name, place in places.items():
        axis.annotate(
            name,
            (right, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=FONT_SIZE,
            color=style_of(name, results)["color"],
            annotation_clip=False,
        )
    return True


def spread(ends: Mapping[str, float], apart: float, lowest: float) -> dict[str, float] | None:
    """Move names apart as little as possible.

    >>> spread({"a": 10.0, "b": 11.0, "c": 50.0}, 2.0, 0.0)
    {'a': 9.5, 'b': 11.5, 'c': 50.0}
    >>> spread({"a": 0.0, "b": 0.0, "c": 0.0}, 2.0, 0.0) is None
    True

    Args:
        ends: name -> where its line ends.
        apart: least distance of two names.
        lowest: place that a name may have; the numbers of the axis are below.

    Returns:
        Name -> its place; None if a name would be too far from its line.
    """
    order = sorted(ends, key=lambda name: ends[name])
    # Names that touch are one block around the mean of where each of them would put it.
    blocks: list[list[float]] = []
    for place, name in enumerate(order):
        blocks.append([ends[name] - place * apart])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    starts = [max(_mean(block), lowest) for block in blocks for _ in block]
    places = {
        name: start + i * apart for i, (name, start) in enumerate(zip(order, starts, strict=True))
    }
    if any(abs(places[name] - ends[name]) > FURTHEST * apart for name in ends):
        return None
    return places


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
