"""A contact sheet of a dataset, and statistics of its splits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.files import write_atomically

CLASSES = 10
"""Classes shown of each split."""
EXAMPLES = 10
"""Images shown of each class."""
TILE = 48
"""Least side of an image on the sheet, in pixels."""
GAP = 2
"""Space between images."""
MARGIN = 150
"""Width of the names on the left."""
HEADING = 18
"""Height of the heading of a split."""
CHUNK = 4096
"""Images that are counted at a time."""


def statistics(data: Loaded, splitting: str | None = None) -> list[dict[str, Any]]:
    """Describe each split by one row of plain values.

    A row has classes, images, images a class, size, and the mean and standard deviation of each
    channel in [0, 1].

    Args:
        data: the dataset.
        splitting: name of the splitting; None uses the first.

    Raises:
        DataError: If there is no such splitting.
    """
    rows = []
    for name, images in _splits(data, splitting):
        counts = np.bincount(images.known_labels)
        per_class = f"{counts.min()}"
        if counts.min() < counts.max():
            per_class = f"{counts.min()} to {counts.max()}"
        mean, std = channel_moments(images.pixels)
        rows.append(
            {
                "split": name,
                "classes": images.n_classes,
                "images": len(images),
                "images a class": per_class,
                "size": "x".join(map(str, images.shape)),
                "mean": mean,
                "std": std,
            }
        )
    return rows


def _splits(data: Loaded, splitting: str | None) -> list[tuple[str, Images]]:
    """The splits of a splitting, and their names with it."""
    chosen = splitting or next(iter(data.splittings))
    # The split of an unknown splitting does not exist either: data.split raises the error.
    names = list(data.splittings.get(chosen, {"": None}))
    return [(f"{chosen}/{name}", data.split(chosen, name)) for name in names]


def channel_moments(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1].

    They are exact, because they are computed from the counts of the 256 values.

    Args:
        pixels: uint8 (N, C, H, W).

    >>> channel_moments(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
    ([0.5], [0.5])
    """
    values = np.arange(256)
    means = []
    stds = []
    for channel in range(pixels.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(pixels), CHUNK):
            chunk = pixels[start : start + CHUNK, channel]
            counts += np.bincount(chunk.ravel(), minlength=256)
        total = counts.sum()
        mean = float((counts * values).sum() / total)
        variance = (counts * (values - mean) ** 2).sum() / total
        means.append(mean / 255)
        stds.append(float(variance**0.5) / 255)
    return means, stds


def write(data: Loaded, path: Path, splitting: str | None = None) -> Path:
    """Write a contact sheet.

    It shows, of each split, up to ten classes spread over all of them, one class a row: its name
    and its first images.

    Args:
        data: the dataset.
        path: the file; it must end in ``.png``.
        splitting: name of the splitting; None uses the first.

    Raises:
        HarnessError: If the file has another ending.
        DataError: If there is no such splitting.
    """
    if path.suffix.lower() != ".png":
        raise HarnessError(
            "a contact sheet is a PNG",
            where=str(path),
            hint=f"call it {path.with_suffix('.png').name}",
        )
    from PIL import Image, ImageDraw

    tile = max(TILE, data.pixels.shape[-1])
    blocks = [(name, images, _spread_classes(images)) for name, images in _splits(data, splitting)]
    height = sum(HEADING + len(classes) * (tile + GAP) for _, _, classes in blocks)
    paper = Image.new("RGB", (MARGIN + EXAMPLES * (tile + GAP), height), "white")
    pen = ImageDraw.Draw(paper)
    top = 0
    for name, images, classes in blocks:
        heading = f"{name}: {len(classes)} of {images.n_classes} classes"
        pen.text((GAP, top + 4), heading, fill="black")
        top += HEADING
        for label in classes:
            rows = np.flatnonzero(images.known_labels == label)[:EXAMPLES]
            class_name = data.class_names[data.labels[images.index[rows[0]]]]
            pen.text((GAP, top + tile // 2 - 6), _shorten(pen, class_name), fill="black")
            for column, row in enumerate(rows):
                picture = _picture(images.pixels[row], tile)
                paper.paste(picture, (MARGIN + column * (tile + GAP), top))
            top += tile + GAP
    buffer = io.BytesIO()
    paper.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
    return path


def _spread_classes(images: Images) -> np.ndarray:
    """Up to ten classes, evenly spread over all."""
    return np.unique(np.linspace(0, images.n_classes - 1, CLASSES).round().astype(int))


def _picture(pixels: np.ndarray, tile: int) -> Any:
    """An image for the sheet, from uint8 (C, H, W)."""
    from PIL import Image

    is_grey = len(pixels) == 1
    plane = pixels[0] if is_grey else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    picture = Image.fromarray(plane)
    return picture.resize((tile, tile), Image.Resampling.NEAREST).convert("RGB")


def _shorten(pen: Any, name: str) -> str:
    """As much of a name as fits into the margin."""
    text = name.encode("latin-1", "replace").decode("latin-1")  # all that the built-in font has
    while pen.textlength(text) > MARGIN - 3 * GAP:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text
