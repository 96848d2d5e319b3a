"""The published files of corrupted images: NumPy arrays, read without unpickling anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import DataError


@dataclass(frozen=True)
class Part:
    """Rows of a published file.

    Attributes:
        start: the first row.
        count: how many.
    """

    start: int
    count: int

    def of(self, path: Path) -> np.ndarray:
        """These rows of an array on disk.

        Raises:
            DataError: it is no array, or has fewer rows.
        """
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"not a NumPy array: {error}", where=str(path)) from None
        end = self.start + self.count
        if array.ndim < 1 or len(array) < end:
            rows = len(array) if array.ndim else 0
            raise DataError(f"it has {rows} rows, and {end} are needed", where=str(path))
        part: np.ndarray = array[self.start : end]
        return part

    def pixels(self, path: Path, shape: tuple[int, int, int]) -> np.ndarray:
        """These rows as images, uint8 (count, C, H, W).

        Raises:
            DataError: they are no images of this shape (C, H, W).
        """
        channels, height, width = shape
        part = self.of(path)
        plain = (height, width, channels)
        if part.dtype != np.uint8 or part.shape[1:] not in {plain, plain[: 2 + (channels > 1)]}:
            message = f"{part.dtype} of {part.shape[1:]}, where uint8 of {plain} is needed"
            raise DataError(message, where=str(path))
        images = np.asarray(part).reshape(self.count, *plain)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def pixels_file(folder: Path, corruption_set: str, kind: str) -> Path:
    """Where the images of a kind are."""
    if corruption_set == "mnist-c":
        return folder / kind / "test_images.npy"
    return folder / f"{kind}.npy"


def labels_file(folder: Path, corruption_set: str, kind: str) -> Path:
    """Where the labels of a kind are; all kinds of CIFAR-10-C share one file."""
    if corruption_set == "mnist-c":
        return folder / kind / "test_labels.npy"
    return folder / "labels.npy"


def part_of_file(corruption_set: str, severity: int, images: int) -> Part:
    """The rows of a severity: MNIST-C has one, CIFAR-10-C five after the other."""
    start = 0 if corruption_set == "mnist-c" else (severity - 1) * images
    return Part(start, images)


def same_labels(path: Path, part: Part, labels: np.ndarray) -> None:
    """Check that a published file is of the same images in the same order.

    Raises:
        DataError: its labels are others, so its images are.
    """
    if not np.array_equal(part.of(path), labels):
        raise DataError(
            "its labels are not those of the test images in their order",
            where=str(path),
            hint="the published files are of the 10,000 test images in the official order",
        )
