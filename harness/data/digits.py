"""Handwritten digits that come with scikit-learn: small enough for tests and first steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.data.base import SplitFacts
from harness.data.shipped import package_file
from harness.data.ten_classes import EmbeddedDigits
from harness.registry import datasets


@datasets.register("digits")
class Digits(EmbeddedDigits):
    """Handwritten digits, 8 x 8: the 1,797 images inside scikit-learn."""

    licence = "CC BY 4.0"
    citation = (
        "Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 "
        "(test part, as in scikit-learn)"
    )
    how_to_get = "pip install scikit-learn"
    pinned = {"{}": "bc195234353931181514d7c2d5ad85d47cf71d554c9499c271c40f57695fd4f5"}
    side = 8
    standard = {
        "train": SplitFacts(10, 121, 1257),
        "val": SplitFacts(10, 18, 180),
        "test": SplitFacts(10, 35, 360),
    }
    classes = {"train": SplitFacts(5, 177, 901), "test": SplitFacts(5, 174, 896)}

    def sources(self) -> list[Path]:
        """The table that scikit-learn ships."""
        return [package_file("sklearn", "datasets", "data", "digits.csv.gz")]

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the table and scale its 0 .. 16 to 0 .. 255, rounded to nearest."""
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        return np.rint(values * (255 / 16)).astype(np.uint8), labels
