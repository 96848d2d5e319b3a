"""CIFAR-10, complete, from any form in which people have it."""

from __future__ import annotations

from harness.data.base import Remote
from harness.data.cifar_files import SHAPE, BinaryBatch, PickledBatch, batches
from harness.data.forms import ClassFolders, Files, Form
from harness.data.parquet_form import ParquetShards
from harness.data.published import Published
from harness.registry import datasets

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


@datasets.register("cifar-10")
class Cifar10(Published):
    """Photographs of ten classes, 32 x 32 in colour: CIFAR-10 complete, 50,000 + 10,000 images."""

    licence = "none stated; free for research with citation"
    citation = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    how_to_get = (
        "run `harness data get cifar-10`; or name what you have: cifar-10-python.tar.gz, "
        "cifar-10-binary.tar.gz, what is packed in them, the Parquet files of Hugging Face, or "
        "images in folders train/<class> and test/<class>, as "
        "{kind: cifar-10, folder: PATH}, or run `harness data import cifar-10 PATH`"
    )
    # The author's own archive; the sha256 is the one that Keras records (datasets/cifar10.py).
    remotes = (
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170_498_071,
        ),
    )
    shape = SHAPE
    usual = (
        "cifar-10-batches-py",
        "cifar-10-batches-bin",
        "cifar-10-python.tar.gz",
        "cifar-10-binary.tar.gz",
        "cifar10",
    )
    class_names = CLASSES
    counts = {"train": (5000,) * 10, "test": (1000,) * 10}
    records = {
        "train": "55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
        "test": "325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
    }

    @property
    def forms(self) -> tuple[Form, ...]:
        """Python pickles, binary batches, Parquet, class folders."""
        return (
            Files(batches(BATCHES, "test_batch"), PickledBatch("labels", 10)),
            Files(batches(BATCHES, "test_batch", ".bin"), BinaryBatch(1, 10)),
            ParquetShards("label", 10, SHAPE),
            ClassFolders(CLASSES, SHAPE),
        )
