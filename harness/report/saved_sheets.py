"""Adversarial images that were kept, as arrays and as sheets to look at."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.files import write_atomically

TILE = 48
"""Least side of an image on a sheet, in pixels."""
MOST_PIXELS = 2**25
"""Most pixels of the adversarial images on one sheet."""
GAP = 2
"""Space between images."""
WORDS = 220
"""Width of the column of classes."""
HEADING = 34
"""Height of the two lines above the images."""
_BUDGET = re.compile(r"adversarial/eps=(\d[\d.e+-]*)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def write_all(results: Results, folder: Path) -> list[Path]:
    """Write what each measurement kept: an ``.npz``, and a ``.png`` for each budget."""
    written: list[Path] = []
    for kept in _kept(results):
        buffer = io.BytesIO()
        named: dict[str, Any] = dict(sorted(kept.arrays.items()))
        np.savez_compressed(buffer, **named)
        path = folder / f"{kept.stem}.npz"
        write_atomically(path, buffer.getvalue())
        written += [path, *_write_sheets(kept, folder)]
    return written


def write_sheets(results: Results, folder: Path) -> list[Path]:
    """Write a ``.png`` for each budget of each measurement that kept images."""
    return [path for kept in _kept(results) for path in _write_sheets(kept, folder)]


def sheets(results: Results) -> Iterator[tuple[str, bytes]]:
    """Draw each budget of each measurement that kept images, as title and PNG.

    Raises:
        HarnessError: what it kept is damaged.
    """
    for kept in _kept(results):
        for match in filter(None, map(_BUDGET.fullmatch, kept.arrays)):
            _check(kept, match[1])
            title = f"{kept.title} · eps {match[1]}"
            yield title, sheet(kept.arrays, match[1], kept.names, title)


@dataclass(frozen=True)
class _Kept:
    """What one measurement kept.

    Attributes:
        arrays: of ``harness.protocols.saved``.
        names: number of a class -> its name.
        title: first line of its sheets.
        stem: of its files.
    """

    arrays: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    title: str
    stem: str


def _kept(results: Results) -> Iterator[_Kept]:
    drawn: set[tuple[str, str, str]] = set()  # one cell may have several names, none twice
    for record in results.records:
        place = (record.cell, record.learner, record.protocol)
        if record.cell not in results.saved or place in drawn:
            continue
        drawn.add(place)
        label = str(record.setting["attack"])
        words = [record.protocol, record.learner, label, f"seed{record.seed}"]
        yield _Kept(
            results.saved_images(record.cell),
            results.saved[record.cell],
            f"{record.learner} · {record.protocol} · {label} · seed {record.seed}",
            "-".join(_UNSAFE.sub("_", word) for word in words) + f"-{record.cell[:8]}",
        )


def _write_sheets(kept: _Kept, folder: Path) -> Iterator[Path]:
    budgets = [match[1] for match in map(_BUDGET.fullmatch, kept.arrays) if match is not None]
    for eps in sorted(budgets, key=float):
        _check(kept, eps)
        path = folder / f"{kept.stem}-eps{eps}.png"
        write_atomically(path, sheet(kept.arrays, eps, kept.names, f"{kept.title} · eps {eps}"))
        yield path


def _check(kept: _Kept, eps: str) -> None:
    """Refuse arrays of one budget that no sweep keeps: a submission may hold anything.

    Raises:
        HarnessError: they are damaged, or a sheet of them would take too much memory.
    """
    rows = ("label", f"answered/eps={eps}", f"correct/eps={eps}")
    planes = ("clean", f"adversarial/eps={eps}")
    shapes = {name: kept.arrays[name].shape for name in (*rows, *planes) if name in kept.arrays}
    clean = shapes.get("clean", ())
    whole = len(clean) == 4 and min(clean) > 0
    whole = whole and all(shapes.get(name) == clean for name in planes)
    whole = whole and all(shapes.get(name) == clean[:1] for name in rows)
    numbers = {str(number) for name in rows[:2] if whole for number in kept.arrays[name]}
    if not whole or not numbers <= kept.names.keys():
        raise HarnessError(f"the images that it kept at eps {eps} are damaged", where=kept.title)
    side = max(TILE, *clean[2:])
    if clean[0] * side**2 > MOST_PIXELS:
        raise HarnessError(
            f"{clean[0]} images of {clean[2]} x {clean[3]} are too much for one sheet",
            where=kept.title,
            hint="keep fewer: `save: 16`",
        )


def sheet(
    arrays: Mapping[str, np.ndarray], eps: str, names: Mapping[str, str], title: str
) -> bytes:
    """Draw one budget as a PNG: clean image, perturbation, adversarial image, classes.

    Grey is no perturbation; the largest one on the sheet is black or white.

    Args:
        arrays: of ``harness.protocols.saved``.
        eps: the budget, as in the names of the arrays.
        names: number of a class -> its name.
        title: the first line.
    """
    from PIL import Image, ImageDraw

    clean = arrays["clean"].astype(np.float32) / 255
    adversarial = arrays[f"adversarial/eps={eps}"]
    delta = adversarial - clean
    largest = float(np.abs(delta).max())
    shown = delta / (2 * largest) + 0.5 if largest > 0 else np.full_like(delta, 0.5)
    tile = max(TILE, clean.shape[-1])
    line = tile + GAP
    paper = Image.new("RGB", (3 * line + WORDS, HEADING + len(clean) * line), "white")
    pen = ImageDraw.Draw(paper)
    pen.text((GAP, 2), _printable(title), fill="black")
    legend = f"clean, perturbation (largest: {largest:.3g}), adversarial, true -> answered"
    pen.text((GAP, 18), legend, fill="black")
    for row in range(len(clean)):
        top = HEADING + row * line
        for column, image in enumerate((clean[row], shown[row], adversarial[row])):
            paper.paste(_picture(image, tile), (column * line, top))
        label = names[str(arrays["label"][row])]
        answered = names[str(arrays[f"answered/eps={eps}"][row])]
        words = _printable(f"{label} -> {answered}")
        colour = "black" if arrays[f"correct/eps={eps}"][row] else "firebrick"
        pen.text((3 * line + GAP, top + tile // 2 - 6), words, fill=colour)
    buffer = io.BytesIO()
    paper.save(buffer, "PNG")
    return buffer.getvalue()


def _picture(image: np.ndarray, tile: int) -> Any:
    """An image for the sheet, from float32 (C, H, W) in [0, 1]; other than colours: their mean."""
    from PIL import Image

    channels = image if len(image) == 3 else image.mean(0, keepdims=True).repeat(3, 0)
    plane = (channels.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return picture.resize((tile, tile), Image.Resampling.NEAREST)


def _printable(text: str) -> str:
    """Text in the characters that the built-in font has."""
    return text.encode("latin-1", "replace").decode("latin-1")
