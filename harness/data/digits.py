"""scikit-learn's digits: small enough for tests and first steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import by_class, carve, package_file
from harness.registry import datasets
from harness.rng import Rng


@datasets.register("digits")
class Digits(Dataset):
    """Handwritten digits, 8 x 8: the 1,797 images inside scikit-learn."""

    origin = "embedded"
    licence = "CC BY 4.0"
    citation = "Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (test part, as in scikit-learn)"
    how_to_get = "pip install scikit-learn"
    pinned = {"{}": "bc195234353931181514d7c2d5ad85d47cf71d554c9499c271c40f57695fd4f5"}

    def facts(self) -> Facts:
        """Shape and splits."""
        return Facts(
            image_shape=(1, 8, 8),
            splittings={
                "standard": {
                    "train": SplitFacts(10, 121, 1257),
                    "val": SplitFacts(10, 18, 180),
                    "test": SplitFacts(10, 35, 360),
                },
                "classes": {"train": SplitFacts(5, 177, 901), "test": SplitFacts(5, 174, 896)},
            },
            class_disjoint=frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """The table that scikit-learn ships."""
        return [package_file("sklearn", "datasets", "data", "digits.csv.gz")]

    def build(self) -> Loaded:
        """Read the table, stretch its 0 .. 16 over 0 .. 255 (rounded to nearest), carve val and test from it."""
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        labels = labels.astype(np.int64)
        return Loaded(
            pixels=np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8),
            labels=labels,
            class_names=tuple("0123456789"),
            groups=None,
            splittings={
                "standard": carve(labels, val=180, test=360, rng=Rng(0).child("digits")),
                "classes": by_class(labels, 5),
            },
        )
