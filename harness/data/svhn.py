"""SVHN, cropped digits, from its two MATLAB files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.data.base import Remote
from harness.data.forms import ClassFolders, Files, Form, Part, part_of
from harness.data.mat5 import read_bytes_arrays
from harness.data.published import Published
from harness.data.ten_classes import DIGITS
from harness.errors import DataError
from harness.registry import datasets

SIDE = 32
LARGEST = 1 << 30
"""Most bytes of the arrays of a file; train has 225 million."""


@datasets.register("svhn")
class SVHN(Published):
    """House numbers: SVHN's cropped digits, 32 x 32 in colour, 73,257 + 26,032 images."""

    licence = "non-commercial use"
    citation = "Netzer et al., Reading Digits in Natural Images, NIPS workshop, 2011"
    how_to_get = (
        "run `harness data get svhn`; or name the folder of train_32x32.mat and test_32x32.mat as "
        "{kind: svhn, folder: PATH}, or run `harness data import svhn PATH`"
    )
    # The authors' own files; TensorFlow Datasets and many others record these sha256.
    remotes = (
        Remote(
            "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            182_040_794,
        ),
        Remote(
            "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            64_275_384,
        ),
    )
    shape = (3, SIDE, SIDE)
    usual = ("SVHN",)
    class_names = DIGITS
    counts = {
        "train": (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        "test": (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
    }

    @property
    def forms(self) -> tuple[Form, ...]:
        """MATLAB files, class folders."""
        files = {"train": [("train_32x32.mat",)], "test": [("test_32x32.mat",)]}
        return Files(files, _decode), ClassFolders(DIGITS, self.shape)


def _decode(contents: Sequence[bytes], where: str) -> Part:
    """Read ``X``, uint8 (32, 32, 3, N), and ``y``, (N, 1), in which 10 is the digit 0."""
    (content,) = contents
    arrays = read_bytes_arrays(content, where, LARGEST)
    images, labels = arrays.get("X"), arrays.get("y")
    if images is None or labels is None or images.ndim != 4 or images.shape[:3] != (SIDE, SIDE, 3):
        raise DataError(
            "it has no images X of 32 x 32 x 3 bytes with labels y",
            where=where,
            hint="get the cropped digits: train_32x32.mat and test_32x32.mat",
        )
    digits = np.where(labels.ravel() == 10, 0, labels.ravel())
    return part_of(images.transpose(3, 2, 0, 1), digits, 10, where)
