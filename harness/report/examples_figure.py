"""Images under attack, side by side for all learners: what each of them saw, and what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.attacks.engine.sweep import verdict_name
from harness.cells.results import Results
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE = 0.62
"""Side of an image, in inches; so are all lengths below."""
NAMES = 1.25
"""Least width of the column of learners."""
LEAST = 5.4
"""Least width of the figure, for the lines above it."""
LETTER = 0.075
"""Width of a letter of a learner's name."""
GAP = 0.16
"""Between images."""
LINE = 0.2
"""Height of a line of text."""
HEAD = 0.72
"""Height of the title and of how to read the figure."""
LONGEST = 16
"""Characters of the name of a class."""
RIGHT, WRONG = "#1B6E3A", "#B2182B"


@dataclass(frozen=True)
class Seen:
    """What one learner saw and said. Axes: images (K).

    Attributes:
        clean: bool (K,), right without an attack.
        adversarial: float32 (K, C, H, W).
        answered: int64 (K,), the class that it answered then.
        withstood: bool (K,), right at this and every smaller budget.
    """

    clean: np.ndarray
    adversarial: np.ndarray
    answered: np.ndarray
    withstood: np.ndarray


@dataclass(frozen=True)
class Examples:
    """The same images as several learners saw them.

    Attributes:
        attack: its name and budget in words.
        about: dataset and seed.
        pixels: float32 (K, C, H, W), the images as they are.
        labels: (K,), their classes.
        names: number of a class -> its name.
        learners: learner -> what it saw, in the order of the suite.
    """

    attack: str
    about: str
    pixels: np.ndarray
    labels: np.ndarray
    names: Mapping[str, str]
    learners: Mapping[str, Seen]


def gathered(results: Results, protocol: str, attack: str, eps: float, about: str) -> Examples:
    """Collect what learners saw, from a sweep that kept all of its images.

    Args:
        results: of one seed and one attack, with the budgets 0 and ``eps``.
        protocol: its name.
        attack: name and budget in words.
        eps: the budget.
        about: what is said of dataset and seed.
    """
    cells = {r.learner: r.cell for r in results.records if r.protocol == protocol}
    names: dict[str, str] = {}
    learners: dict[str, Seen] = {}
    kept: Mapping[str, np.ndarray] = {}
    for learner in results.learners:
        cell = cells.get(learner)
        if cell not in results.saved:
            continue
        kept = results.saved_images(cell)
        names |= results.saved[cell]
        learners[learner] = Seen(
            np.asarray(results.verdicts(cell, verdict_name(0.0))).astype(bool),
            kept[verdict_name(eps, "adversarial")],
            kept[verdict_name(eps, "answered")],
            kept[verdict_name(eps)].astype(bool),
        )
    pixels = kept["clean"].astype(np.float32) / 255
    return Examples(attack, about, pixels, kept["label"], names, learners)


def chosen(examples: Examples, shown: int) -> list[int]:
    """Rows of the images to show: those on which learners differ most, of different classes first.

    Before that count how many were right without the attack, for nobody learns from an image that
    was wrong anyway.
    """
    seen = list(examples.learners.values())
    right = np.sum([each.clean for each in seen], axis=0)
    withstood = np.sum([each.withstood for each in seen], axis=0)
    even = np.abs(withstood - len(seen) / 2)
    order = np.lexsort((np.arange(len(even)), even, -right))
    _, firsts = np.unique(examples.labels[order], return_index=True)
    distinct = [int(order[place]) for place in sorted(firsts)]
    others = [int(row) for row in order if row not in distinct]
    return [*distinct, *others][:shown]


def draw(examples: Examples, shown: int, results: Results) -> Figure:
    """Draw a row for each learner under one of clean images.

    Args:
        examples: all images that were attacked.
        shown: how many of them to show.
        results: of the suite, in whose figures learners have the same marks.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = chosen(examples, shown)
    names = max(NAMES, 0.3 + LETTER * max(map(len, examples.learners)))
    width = max(LEAST, names + len(rows) * (2 * TILE + GAP))
    row_height = TILE + LINE + 0.08
    height = HEAD + row_height * (1 + len(examples.learners))
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.set_axis_off()
    largest = max(
        float(np.abs(seen.adversarial[rows] - examples.pixels[rows]).max())
        for seen in examples.learners.values()
    )
    _write_head(axis, examples, len(rows), largest)
    _draw_clean(axis, examples, rows, names)
    for place, (learner, seen) in enumerate(examples.learners.items()):
        top = HEAD + (place + 1) * row_height
        _draw_learner(axis, examples, seen, rows, (names, top), largest)
        count = f"right on {seen.withstood.sum()} of {len(seen.withstood)}"
        mark = {key: style_of(learner, results)[key] for key in ("color", "marker")}
        axis.plot(0.12, top + TILE / 2 - 0.06, markersize=5, **mark)
        axis.text(0.24, top + TILE / 2 - 0.06, learner, va="center", fontsize=8.5)
        axis.text(0.24, top + TILE / 2 + 0.12, count, va="center", fontsize=7, color="#555555")
    axis.set(xlim=(0, width), ylim=(height, 0))  # an image sets limits of its own
    axis.set_aspect("auto")
    return figure


def _write_head(axis: Axes, examples: Examples, shown: int, largest: float) -> None:
    axis.text(0.06, 0.16, f"Images under attack: {examples.attack}", fontsize=9.5, va="center")
    tried = len(examples.labels)
    lines = (
        f"{examples.about}; of {tried} images the {shown} on which the learners differ most",
        f"each pair: perturbation (grey: none, black and white: ±{largest:.2g}), and the image "
        "with it; below, the answer",
    )
    for place, line in enumerate(lines):
        top = 0.36 + 0.17 * place
        axis.text(0.06, top, line, fontsize=7.5, va="center", color="#555555")


def _draw_clean(axis: Axes, examples: Examples, rows: list[int], start: float) -> None:
    axis.text(0.24, HEAD + TILE / 2, "clean, true class", va="center", fontsize=8.5)
    for place, row in enumerate(rows):
        left = start + place * (2 * TILE + GAP) + TILE / 2
        _draw_tile(axis, examples.pixels[row], left, HEAD)
        name = _class(examples, examples.labels[row])
        _say(axis, name, left + TILE / 2, HEAD, "black")


def _draw_learner(
    axis: Axes,
    examples: Examples,
    seen: Seen,
    rows: list[int],
    corner: tuple[float, float],
    largest: float,
) -> None:
    """Draw what a learner saw and said, to the right of a corner (left, top)."""
    start, top = corner
    for place, row in enumerate(rows):
        left = start + place * (2 * TILE + GAP)
        change = seen.adversarial[row] - examples.pixels[row]
        _draw_tile(axis, change / (2 * max(largest, 1e-12)) + 0.5, left, top)
        _draw_tile(axis, seen.adversarial[row], left + TILE, top)
        answer = _class(examples, seen.answered[row])
        if seen.withstood[row]:
            _say(axis, f"{answer} ✓", left + TILE, top, RIGHT)
        else:
            before = "" if seen.clean[row] else ", clean too"
            _say(axis, f"{answer} ✗{before}", left + TILE, top, WRONG)


def _class(examples: Examples, number: Any) -> str:
    name = examples.names[str(number)]
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _say(axis: Axes, words: str, centre: float, top: float, color: str) -> None:
    below = top + TILE + LINE / 2
    axis.text(centre, below, words, ha="center", va="center", fontsize=8, color=color)


def _draw_tile(axis: Axes, image: np.ndarray, left: float, top: float) -> None:
    """An image of float32 (C, H, W) in [0, 1]; other than three channels: their mean."""
    channels = image if len(image) == 3 else image.mean(0, keepdims=True).repeat(3, 0)
    extent = (left, left + TILE, top + TILE, top)
    plane = np.clip(channels.transpose(1, 2, 0), 0, 1)
    axis.imshow(plane, extent=extent, interpolation="nearest", aspect="auto")
