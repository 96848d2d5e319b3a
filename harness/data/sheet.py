"""Looking at a dataset: a contact sheet, and statistics of each split."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.files import write_atomically

CLASSES, EXAMPLES, TILE, GAP, MARGIN, HEADING = 10, 10, 48, 2, 150, 18
"""Classes a split and examples a class; pixels of an image (at least), between images, of names, and of headings."""
CHUNK = 4096


def statistics(data: Loaded, splitting: str | None = None) -> list[dict[str, Any]]:
    """One row a split: classes, images, images a class, size, mean and standard deviation of each channel in [0, 1]."""
    splitting = splitting or next(iter(data.splittings))
    rows = []
    for split in data.splittings.get(splitting, {"": None}):
        images = data.split(splitting, split)
        counts = np.bincount(images.labels)
        mean, std = channel_moments(images.pixels)
        each = (
            str(counts.min())
            if counts.min() == counts.max()
            else f"{counts.min()} to {counts.max()}"
        )
        rows.append(
            {
                "split": f"{splitting}/{split}",
                "classes": images.n_classes,
                "images": len(images),
                "images a class": each,
                "size": "x".join(map(str, images.shape)),
                "mean": mean,
                "std": std,
            }
        )
    return rows


def channel_moments(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 (N, C, H, W), in [0, 1]; exact, from counts of the 256 values."""
    means, stds, values = [], [], np.arange(256)
    for channel in range(pixels.shape[1]):
        counts = sum(
            np.bincount(pixels[start : start + CHUNK, channel].ravel(), minlength=256)
            for start in range(0, len(pixels), CHUNK)
        )
        mean = float((counts * values).sum() / counts.sum())
        means.append(mean / 255)
        stds.append(float(((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5) / 255)
    return means, stds


def write(data: Loaded, path: Path, splitting: str | None = None) -> Path:
    """A contact sheet: of each split classes spread over all of them, one a row, with their first examples and name.

    Raises:
        HarnessError: a file name that does not end in ``.png``.
    """
    if path.suffix.lower() != ".png":
        raise HarnessError(
            "a contact sheet is a PNG",
            where=str(path),
            hint=f"call it {path.with_suffix('.png').name}",
        )
    from PIL import Image, ImageDraw

    splitting = splitting or next(iter(data.splittings))
    tile = max(TILE, data.pixels.shape[-1])
    height, parts = 0, []
    for split in data.splittings.get(splitting, {"": None}):
        images = data.split(splitting, split)
        chosen = np.unique(np.linspace(0, images.n_classes - 1, CLASSES).round().astype(int))
        parts.append((split, images, chosen))
        height += HEADING + len(chosen) * (tile + GAP)
    paper = Image.new("RGB", (MARGIN + EXAMPLES * (tile + GAP), height), "white")
    pen, top = ImageDraw.Draw(paper), 0
    for split, images, chosen in parts:
        pen.text(
            (GAP, top + 4),
            f"{splitting}/{split}: {len(chosen)} of {images.n_classes} classes",
            fill="black",
        )
        top += HEADING
        for label in chosen:
            rows = np.flatnonzero(images.labels == label)[:EXAMPLES]
            name = data.class_names[data.labels[images.index[rows[0]]]]
            pen.text((GAP, top + tile // 2 - 6), _fitting(pen, name), fill="black")
            for column, row in enumerate(rows):
                paper.paste(_picture(images, row, tile), (MARGIN + column * (tile + GAP), top))
            top += tile + GAP
    buffer = io.BytesIO()
    paper.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
    return path


def _picture(images: Images, row: int, tile: int) -> Any:
    from PIL import Image

    pixels = images.pixels[row]
    picture = Image.fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
    return picture.resize((tile, tile), Image.Resampling.NEAREST).convert("RGB")


def _fitting(pen: Any, name: str) -> str:
    """As much of a name as the margin holds."""
    name = name.encode("latin-1", "replace").decode("latin-1")  # the built-in font has no more
    while pen.textlength(name) > MARGIN - 3 * GAP:
        name = name[:-2] + "…" if len(name) > 2 else ""
    return name
