"""Which test images break whom: the stored verdicts of one number, image by image."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.cells.results import Results
from harness.report.board.model import Broken, HardImage, PerImage
from harness.report.board.ranking import Ranking

MOST_LISTED = 5
"""Numbers of images that are written out; of more, only how many there are."""

MOST_HARD = 12
"""Images that are listed with those who are right on them."""

MOST_COLUMNS = 1000
"""Columns of a strip; with more images, neighbours are averaged."""

SHADES = 17
"""Shades of a strip, from never right to always right."""

WRONG, RIGHT = (150, 20, 45), (214, 226, 236)
"""Colours of the ends."""

PER_IMAGE = ("sample", "image")
"""Units that are images of a split; others (episodes, streams) are drawn anew for each suite."""


def per_image(results: Results, protocol: str, ranking: Ranking) -> PerImage | None:
    """Line up the ranked learners of a column on its images; None if its units are no images.

    An image breaks a learner if it is wrong on it in most of its seeds.
    """
    if ranking.rivals.unit not in PER_IMAGE:
        return None
    if len({len(seed) for units in ranking.rivals.units for seed in units}) != 1:
        return None
    right = np.stack([np.mean(units, axis=0) for units in ranking.rivals.units])
    breaks = right < 0.5
    broken = breaks.sum(0)
    numbers = _image_numbers(results, protocol, right.shape[1])
    # The images that break most come first; equal ones in their own order.
    order = np.argsort(-broken, kind="stable")
    learners = [
        Broken(
            row=row,
            wrong=int(breaks[i].sum()),
            only_wrong=_listed(numbers[breaks[i] & (broken == 1)]),
            only_right=_listed(numbers[~breaks[i] & (broken == len(right) - 1)]),
            strip=_strip(right[i][order]),
        )
        for i, row in enumerate(ranking.rows)
    ]
    hardest = [
        HardImage(
            number=int(numbers[place]),
            breaks=int(broken[place]),
            right=[
                row for row, wrong in zip(ranking.rows, breaks[:, place], strict=True) if not wrong
            ],
        )
        for place in order[:MOST_HARD]
        if broken[place]
    ]
    counts = Counter(broken.tolist())
    return PerImage(
        images=len(broken),
        seeds=len(ranking.rivals.units[0]),
        learners=sorted(learners, key=lambda each: each.wrong),
        counts=[(k, counts[k]) for k in range(len(right) + 1)],
        hardest=hardest,
    )


def _image_numbers(results: Results, protocol: str, n: int) -> np.ndarray:
    """The positions of the images in their split; their own order if none were stored."""
    cells = [r.cell for r in results.records if r.protocol == protocol and r.n == n]
    for cell in dict.fromkeys(cells):
        try:
            index = np.asarray(results.verdicts(cell, "index"))
        except KeyError:  # derived from several cells
            continue
        if index.shape == (n,):
            return index
    return np.arange(n)


def _listed(numbers: np.ndarray) -> tuple[int, list[int]]:
    """How many images, and the first of them."""
    return len(numbers), [int(number) for number in sorted(numbers)[:MOST_LISTED]]


def _strip(right: Sequence[float] | np.ndarray) -> str:
    """One learner on all images as a PNG of one row, dark where it is wrong; a data URI."""
    from PIL import Image

    parts = np.array_split(np.asarray(right), min(len(right), MOST_COLUMNS))
    means = np.array([part.mean() for part in parts])
    image = Image.fromarray(np.round(means * (SHADES - 1)).astype(np.uint8)[None], "P")
    palette = np.linspace(WRONG, RIGHT, SHADES).round().astype(int)
    image.putpalette(palette.ravel().tolist())
    out = io.BytesIO()
    image.save(out, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
