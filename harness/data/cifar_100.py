"""CIFAR-100 for classification, complete, from any form in which people have it."""

from __future__ import annotations

from harness.data.cifar100 import OFFICIAL
from harness.data.cifar_files import SHAPE, BinaryBatch, PickledBatch, batches
from harness.data.cifar_fs import CifarFs
from harness.data.forms import ClassFolders, Files, Form
from harness.data.parquet_form import ParquetShards
from harness.data.published import Published
from harness.registry import datasets


@datasets.register("cifar-100")
class Cifar100Classes(Published):
    """Photographs of 100 classes, 32 x 32 in colour: CIFAR-100 complete, 50,000 + 10,000 images."""

    licence = CifarFs.licence
    citation = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    how_to_get = (
        f"run `harness data get cifar-100`; or name what you have: {OFFICIAL}, "
        "cifar-100-binary.tar.gz, what is packed in them, the Parquet files of Hugging Face, or "
        "images in folders train/<class> and test/<class>, as "
        "{kind: cifar-100, folder: PATH}, or run `harness data import cifar-100 PATH`"
    )
    remotes = CifarFs.remotes
    shape = SHAPE
    usual = (
        "cifar-100-python",
        "cifar-100-binary",
        OFFICIAL,
        "cifar-100-binary.tar.gz",
        "cifar100",
        f"cifar-fs/{OFFICIAL}",
    )
    counts = {"train": (500,) * 100, "test": (100,) * 100}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The fine classes, in alphabetical order as in the official files."""
        return tuple(sorted(listed.name for listed in CifarFs.listed_classes()))

    @property
    def forms(self) -> tuple[Form, ...]:
        """Python pickles, binary batches, Parquet, class folders."""
        return (
            Files(batches(["train"], "test"), PickledBatch("fine_labels", 100)),
            Files(batches(["train"], "test", ".bin"), BinaryBatch(2, 100)),
            ParquetShards("fine_label", 100, SHAPE),
            ClassFolders(self.class_names, SHAPE),
        )
