"""Adversarial images that a store kept, as arrays and as sheets to look at."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.cells.cell import Cell
from harness.cells.plan import Plan
from harness.errors import HarnessError
from harness.files import write_atomically
from harness.storage.store import SAVED, Store

TILE = 48
"""Least side of an image on a sheet, in pixels."""
GAP = 2
"""Space between images."""
WORDS = 220
"""Width of the column of classes."""
HEADING = 34
"""Height of the two lines above the images."""
_BUDGET = re.compile(r"adversarial/eps=(.+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def write_all(plan: Plan, store: Store, folder: Path) -> list[Path]:
    """Write what the store kept of each cell: an ``.npz``, and a ``.png`` for each budget.

    Raises:
        HarnessError: no attack has ``save``, or its cells are not in the store.
    """
    asked = [cell for cell in plan.unique if cell.role == "measure" and _saves(cell)]
    if not asked:
        raise HarnessError(
            "no attack of the suite keeps images",
            where=plan.suite.name,
            hint="write `save: 16` on an attack of an attack_sweep, and run the suite",
        )
    written: list[Path] = []
    for cell in asked:
        if store.done(cell.key):
            written += _write(cell, store, folder)
    if not written:
        raise HarnessError(
            "the store has none of the cells that keep images",
            where=str(store.root),
            hint="run the suite first",
        )
    return written


def _saves(cell: Cell) -> bool:
    config = cell.identity["setting"].get("config", {})
    return config.get("save") is not None


def _write(cell: Cell, store: Store, folder: Path) -> list[Path]:
    result = store.read(cell.key)
    assert result is not None  # a damaged cell raises below, where its arrays are read
    arrays = store.arrays(cell.key, SAVED)
    title = f"{cell.learner} · {cell.protocol} · {cell.label} · seed {cell.seed}"
    words = [cell.protocol, cell.learner, cell.label, f"seed{cell.seed}"]
    stem = "-".join(_UNSAFE.sub("_", word) for word in words) + f"-{cell.key[:8]}"
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(sorted(arrays.items()))
    np.savez_compressed(buffer, **named)
    written = [folder / f"{stem}.npz"]
    write_atomically(written[0], buffer.getvalue())
    budgets = [match[1] for match in map(_BUDGET.fullmatch, arrays) if match is not None]
    for eps in sorted(budgets, key=float):
        path = folder / f"{stem}-eps{eps}.png"
        write_atomically(path, sheet(arrays, eps, result.log["saved"], f"{title} · eps {eps}"))
        written.append(path)
    return written


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
