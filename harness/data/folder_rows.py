"""Images in folders of their classes: ``train/dog/x.png``, or ``dog/x.png`` without splits."""

from __future__ import annotations

from collections.abc import Collection

from harness.data.split_csv import Row
from harness.errors import DataError

SUFFIXES = frozenset(
    ("png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "webp", "pgm", "ppm", "jp2", "tga")
)
"""Endings of image files, in lower case; other files are left out."""
SPLIT_OF_NAME = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""The split that a name means, in lower case."""
LAYOUT = "put images into <class>/ or into train/<class>/, val/<class>/ and test/<class>/"


def is_image(name: str) -> bool:
    """Tell by its name whether a file is an image.

    >>> is_image("dog/1.PNG")
    True
    """
    return name.rpartition(".")[2].lower() in SUFFIXES


def rows_of_folders(names: Collection[str], where: str) -> list[Row]:
    """List the images in folders of classes.

    If all images are in folders that are named like splits, with folders of classes in them, the
    splits are those. Otherwise the highest folder is the class, and there are no splits.

    Args:
        names: paths of files with forward slashes.
        where: their folder, for errors.

    Returns:
        A row an image, without a line; ``split`` is "" without splits.

    Raises:
        DataError: If there are no images, one is in no folder of a class, or only some are in
            folders of splits.
    """
    images = [name for name in names if is_image(name)]
    parts = {name: name.split("/") for name in images}
    split_of = {
        name: SPLIT_OF_NAME[first.lower()]
        for name, (first, *rest) in parts.items()
        if first.lower() in SPLIT_OF_NAME and len(rest) > 1
    }
    if not images:
        raise DataError("it holds no images", where=where, hint=LAYOUT)
    homeless = next((name for name in images if len(parts[name]) == 1), None)
    if homeless:
        raise DataError(f"{homeless!r} is in no folder of a class", where=where, hint=LAYOUT)
    outside = next((name for name in images if name not in split_of), None)
    if split_of and outside:
        raise DataError(
            f"{next(iter(split_of))!r} is in a folder of a split, and {outside!r} is not",
            where=where,
            hint=LAYOUT,
        )
    depth = 1 if split_of else 0
    return [Row(0, name, parts[name][depth], split_of.get(name, "")) for name in images]
