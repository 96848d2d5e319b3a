"""STL-10, its labelled images, from the binary files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.data.base import Remote
from harness.data.forms import ClassFolders, Files, Form, Part, part_of
from harness.data.published import Published
from harness.errors import DataError
from harness.registry import datasets

SHAPE = (3, 96, 96)
VALUES = 3 * 96 * 96
CLASSES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)


@datasets.register("stl10")
class STL10(Published):
    """Photographs of ten classes, 96 x 96 in colour: STL-10's labelled 5,000 + 8,000 images."""

    licence = "none stated; images of ImageNet, whose terms apply"
    citation = "Coates, Lee, Ng, An Analysis of Single-Layer Networks, AISTATS 2011"
    how_to_get = (
        "run `harness data get stl10` (2.6 GB, most of it unlabelled images); or name "
        "stl10_binary.tar.gz or the folder of train_X.bin, train_y.bin, test_X.bin and test_y.bin "
        "as {kind: stl10, folder: PATH}, or run `harness data import stl10 PATH`"
    )
    # The author's own archive; several independent projects record the sha256.
    remotes = (
        Remote(
            "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            2_640_397_119,
        ),
    )
    shape = SHAPE
    usual = ("stl10_binary", "stl10_binary.tar.gz")
    class_names = CLASSES
    counts = {"train": (500,) * 10, "test": (800,) * 10}

    @property
    def forms(self) -> tuple[Form, ...]:
        """Binary files, class folders."""
        files = {split: [(f"{split}_X.bin", f"{split}_y.bin")] for split in ("train", "test")}
        return Files(files, _decode), ClassFolders(CLASSES, SHAPE)


def _decode(contents: Sequence[bytes], where: str) -> Part:
    """Read planes that are stored column by column, and labels 1 to 10."""
    images, labels = contents
    if not images or len(images) % VALUES:
        raise DataError(
            f"cut off: {len(images)} bytes are no whole number of images of {VALUES}",
            where=where,
            hint="fetch it again",
        )
    columns = np.frombuffer(images, np.uint8).reshape(-1, *SHAPE)
    numbers = np.frombuffer(labels, np.uint8).astype(np.int64) - 1
    return part_of(columns.transpose(0, 1, 3, 2), numbers, len(CLASSES), where)
