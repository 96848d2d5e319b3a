"""The part that the digits and their drop-in replacements share: ten classes, two splittings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import by_class, carve
from harness.rng import Rng

FIRST_TEST_CLASS = 5
"""In splitting ``classes``, classes below this one are for training."""
DIGITS = tuple("0123456789")


class TenClasses(Dataset):
    """Square grey images of ten classes.

    Splitting ``standard`` has all classes in each split. In ``classes``, classes 0 to 4 are for
    training and 5 to 9 for the test.
    """

    side: ClassVar[int]
    """Height and width of an image in pixels."""
    standard: ClassVar[Mapping[str, SplitFacts]]
    """Facts of the splits of ``standard``: train, val and test."""
    classes: ClassVar[Mapping[str, SplitFacts]]
    """Facts of the splits of ``classes``: train and test."""

    def facts(self) -> Facts:
        """Return shape and splits."""
        return Facts(
            image_shape=(1, self.side, self.side),
            splittings={"standard": self.standard, "classes": self.classes},
            class_disjoint=frozenset({"classes"}),
        )


class EmbeddedDigits(TenClasses):
    """Digits that are installed with a package; val and test are carved from them."""

    origin = "embedded"

    @abstractmethod
    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read all images: uint8 pixels, one image a row, and integer labels (N,)."""

    def build(self) -> Loaded:
        """Read the images and split them."""
        pixels, raw_labels = self.read()
        labels = raw_labels.astype(np.int64)
        carved = carve(
            labels,
            val=self.standard["val"].images,
            test=self.standard["test"].images,
            rng=Rng(0).child(self.kind),
        )
        return Loaded(
            pixels=pixels.reshape(-1, 1, self.side, self.side),
            labels=labels,
            class_names=DIGITS,
            groups=None,
            splittings={"standard": carved, "classes": by_class(labels, FIRST_TEST_CLASS)},
        )
