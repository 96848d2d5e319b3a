"""Some classes of a dataset, with test images of its other classes as a further split."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.data import acquire
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.beside import made
from harness.errors import DataError
from harness.registry import datasets

OTHERS = "others"
"""Name of the split with the test images of the other classes."""


@datasets.register("some-classes")
class SomeClasses(Dataset):
    """The first classes of a dataset; its other classes are the split `others`, for open sets.

    Learners that are trained on it never see the other classes. Labels of ``others`` are 0 and mean
    nothing.
    """

    class Config(Dataset.Config):
        """Which classes."""

        of: str = Field("mnist5k", description="name of the dataset, which needs no keys")
        kept: int = Field(5, ge=2, description="how many classes, from the first one on")

    config: Config
    origin = "embedded"  # by default; otherwise the dataset says what is missing
    licence = "that of the dataset"
    citation = "that of the dataset"
    how_to_get = "get the dataset that it is of"

    @property
    def whole(self) -> Dataset:
        """The dataset with all of its classes."""
        return made({"kind": self.config.of}, self.root)

    @property
    def parts(self) -> list[Dataset]:
        """The dataset with all of its classes."""
        return [self.whole]

    def facts(self) -> Facts:
        """Shape and splits, counted in the images: facts of a dataset do not list its classes.

        Raises:
            DataError: the images are missing, or there are no other classes.
        """
        data = self._data
        splits = {
            splitting: {name: SplitFacts.measure(data.labels[rows]) for name, rows in of.items()}
            for splitting, of in data.splittings.items()
        }
        return Facts(self.whole.facts().image_shape, splits)

    def sources(self) -> list[Path]:
        """The files of the dataset."""
        return self.whole.sources()

    def build(self) -> Loaded:
        """Leave out the other classes, except for their test images."""
        return self._data

    @cached_property
    def _data(self) -> Loaded:
        data = acquire.load(self.whole)[0]
        kept = self.config.kept
        if kept >= len(data.class_names):
            message = f"{self.config.of} has {len(data.class_names)} classes, and {kept} are kept"
            raise DataError(message, hint="keep fewer, so that there are others")
        splitting = next(iter(data.splittings))
        splits = data.splittings[splitting]
        inside = {name: rows[data.labels[rows] < kept] for name, rows in splits.items()}
        others = splits["test"][data.labels[splits["test"]] >= kept]
        return replace(
            data,
            labels=np.where(data.labels < kept, data.labels, 0),
            class_names=data.class_names[:kept],
            groups=None if data.groups is None else data.groups[:kept],
            splittings={splitting: {**inside, OTHERS: others}},
        )
