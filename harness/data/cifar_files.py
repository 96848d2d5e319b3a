"""The files in which CIFAR-10 and CIFAR-100 are published: python pickles, and binary records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.forms import Part, part_of
from harness.data.pickles import read_pickled
from harness.errors import DataError

SHAPE = (3, 32, 32)
VALUES = 3 * 32 * 32
"""Bytes of the pixels of an image: its red, green and blue planes, each row by row."""


@dataclass(frozen=True)
class PickledBatch:
    """Reads a pickle with ``data`` and labels. Nothing in it is executed.

    Attributes:
        labels_key: name of the labels.
        n_classes: number of classes.
    """

    labels_key: str
    n_classes: int

    def __call__(self, contents: Sequence[bytes], where: str) -> Part:
        """Read one batch."""
        (content,) = contents
        batch = read_pickled(content, where)
        if not isinstance(batch, dict):
            raise DataError("its pickle holds no batch", where=where, hint="fetch it again")
        # Python 3 repacks the texts of Python 2 as bytes.
        keys = {key.decode() if isinstance(key, bytes) else key: key for key in batch}
        for needed in ("data", self.labels_key):
            if needed not in keys:
                raise DataError(
                    f"its pickle has no {needed!r}",
                    where=where,
                    hint="it may belong to another dataset; fetch the right one",
                )
        pixels = batch[keys["data"]]
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise DataError("its data are no array of bytes", where=where, hint="fetch it again")
        if pixels.shape[1] != VALUES:
            raise DataError(
                f"images of {pixels.shape[1]} values, not {VALUES}",
                where=where,
                hint="it may belong to another dataset; fetch the right one",
            )
        labels = batch[keys[self.labels_key]]
        return part_of(pixels.reshape(-1, *SHAPE), labels, self.n_classes, where)


@dataclass(frozen=True)
class BinaryBatch:
    """Reads records of label bytes and pixels; the last label byte is the class.

    Attributes:
        label_bytes: 1 for CIFAR-10, 2 for CIFAR-100, whose first one is the superclass.
        n_classes: number of classes.
    """

    label_bytes: int
    n_classes: int

    def __call__(self, contents: Sequence[bytes], where: str) -> Part:
        """Read one batch."""
        (content,) = contents
        size = self.label_bytes + VALUES
        if not content or len(content) % size:
            raise DataError(
                f"cut off: {len(content)} bytes are no whole number of records of {size}",
                where=where,
                hint="fetch it again",
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        pixels = records[:, self.label_bytes :].reshape(-1, *SHAPE)
        return part_of(pixels, records[:, self.label_bytes - 1], self.n_classes, where)


def batches(train: Sequence[str], test: str, ending: str = "") -> Mapping[str, list[tuple[str]]]:
    """The files of both splits, one a batch.

    >>> batches(["train"], "test", ".bin")
    {'train': [('train.bin',)], 'test': [('test.bin',)]}
    """
    return {"train": [(f"{name}{ending}",) for name in train], "test": [(f"{test}{ending}",)]}
