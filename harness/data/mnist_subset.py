"""Some digits of MNIST in its own split: the task of papers that use a few classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import shares
from harness.data.idx_family import FILES
from harness.data.mnist import MNIST
from harness.registry import datasets

TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
"""Images of each digit in MNIST's training files."""
TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
"""Images of each digit in MNIST's test files."""
VALIDATION = 5000
"""Training images that are carved for validation."""


def _distinct(digits: str) -> str:
    if len(set(digits)) < len(digits):
        raise ValueError("duplicate digit")
    return digits


@datasets.register("mnist-subset")
class MnistSubset(Dataset):
    """Handwritten digits: some of MNIST's classes, 60,000 + 10,000 images in all."""

    class Config(Dataset.Config):
        """Which digits."""

        digits: Annotated[str, AfterValidator(_distinct)] = Field(
            "126", pattern=r"^[0-9]{2,10}$", description="the digits to keep"
        )

    config: Config
    origin = "data root"
    folder_name = "mnist"
    pinned = {
        '{"digits": "126"}': "c7ee40d6481960e986c2f2ec0d2fcf9d976c8bd5a922ff332018d97585c7effd"
    }
    licence = MNIST.licence
    citation = MNIST.citation
    how_to_get = MNIST.how_to_get
    remotes = MNIST.remotes

    @property
    def _digits(self) -> list[int]:
        return [int(digit) for digit in self.config.digits]

    def facts(self) -> Facts:
        """Return shape and splits, from the published counts of each digit."""
        val = validation_counts()
        counts = {"train": np.array(TRAIN) - val, "val": val, "test": np.array(TEST)}
        splits = {}
        for split, of_digit in counts.items():
            kept = of_digit[self._digits]
            splits[split] = SplitFacts(len(kept), int(kept.min()), int(kept.sum()))
        return Facts((1, 28, 28), {"standard": splits})

    def sources(self) -> list[Path]:
        """Find MNIST's four files."""
        return self.find_files(FILES)

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, bytes]]:
        """Find MNIST's four files at or below ``path`` and check them."""
        return MNIST.found_in(path)

    def build(self) -> Loaded:
        """Read MNIST and drop the rows of other digits; labels stay the digits."""
        mnist = MNIST(MNIST.Config(), self.root).build()
        kept = np.isin(mnist.labels, self._digits)
        splits = {split: rows[kept[rows]] for split, rows in mnist.splittings["standard"].items()}
        return replace(mnist, splittings={"standard": splits})


def validation_counts() -> np.ndarray:
    """Count the images of each digit that ``carve`` takes for validation, by Hamilton's method.

    >>> int(validation_counts().sum())
    5000
    """
    return shares(np.array(TRAIN), VALIDATION)
