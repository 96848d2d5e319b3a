"""Some digits of MNIST, in its own split: the task of papers that use a few classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.mnist import FILES, MNIST, find_files
from harness.registry import Config, datasets

TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
"""Images of each digit."""
VALIDATION = 5000


def _once(digits: str) -> str:
    if len(set(digits)) < len(digits):
        raise ValueError("a digit stands twice")
    return digits


@datasets.register("mnist-subset")
class MnistSubset(Dataset):
    """Handwritten digits: some of MNIST's classes, 60,000 + 10,000 images in all."""

    class Config(Config):
        """Which digits."""

        digits: Annotated[str, AfterValidator(_once)] = Field(
            "126", pattern=r"^[0-9]{2,10}$", description="those that are kept"
        )

    origin = "data root"
    folder_name = "mnist"
    pinned = {
        '{"digits": "126"}': "c7ee40d6481960e986c2f2ec0d2fcf9d976c8bd5a922ff332018d97585c7effd"
    }
    licence, citation, how_to_get, remotes = (
        MNIST.licence,
        MNIST.citation,
        MNIST.how_to_get,
        MNIST.remotes,
    )

    def facts(self) -> Facts:
        """Shape and splits, from the published counts of each digit."""
        val = validation_counts()
        counts = {"train": np.array(TRAIN) - val, "val": val, "test": np.array(TEST)}
        kept = {split: found[list(map(int, self.config.digits))] for split, found in counts.items()}
        return Facts(
            (1, 28, 28),
            {
                "standard": {
                    s: SplitFacts(len(n), int(n.min()), int(n.sum())) for s, n in kept.items()
                }
            },
        )

    def sources(self) -> list[Path]:
        """MNIST's own four files."""
        return find_files(self.root, "mnist", FILES, self.how_to_get)

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, bytes]]:
        """MNIST's four files."""
        return MNIST.found_in(path)

    def build(self) -> Loaded:
        """MNIST, less the rows of other digits; labels stay the digits."""
        whole = MNIST(MNIST.Config(), self.root).build()
        rows, digits = whole.splittings["standard"], list(map(int, self.config.digits))
        return replace(
            whole,
            splittings={
                "standard": {
                    split: found[np.isin(whole.labels[found], digits)]
                    for split, found in rows.items()
                }
            },
        )


def validation_counts() -> np.ndarray:
    """How many of each digit are carved from the training images for validation (Hamilton's method, as ``carve`` does)."""
    quota, remainder = np.divmod(np.array(TRAIN, np.int64) * VALIDATION, sum(TRAIN))
    quota[np.argsort(-remainder, kind="stable")[: VALIDATION - quota.sum()]] += 1
    return quota
