"""The part that MNIST and its drop-in replacements share: four idx files of 70,000 images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.data.archive import files_below
from harness.data.base import Loaded, Remote
from harness.data.carve import carve
from harness.data.idx import read_idx
from harness.data.ten_classes import FIRST_TEST_CLASS, TenClasses
from harness.errors import DataError
from harness.rng import Rng

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class IdxFamily(TenClasses):
    """60,000 training and 10,000 test images of 28 x 28, in four idx files."""

    origin = "data root"
    side = 28
    raw_sha256: ClassVar[tuple[str, str, str, str]]
    """Hashes of the unpacked ``FILES``, in their order."""
    class_names: ClassVar[tuple[str, ...]]

    def sources(self) -> list[Path]:
        """Find the four files, gzipped or raw."""
        return self.find_files(FILES)

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, bytes]]:
        """Find those of the four files that are at or below ``path``, and check them."""
        candidates = [path] if path.is_file() else list(files_below(path).values())
        for name, sha256 in zip(FILES, cls.raw_sha256, strict=True):
            spellings = _spellings(name)
            namesakes = [file for file in candidates if file.name in spellings]
            if namesakes:
                file = _first_sound(namesakes, sha256)
                ending = ".gz" if file.suffix == ".gz" else ""
                yield name + ending, file.read_bytes()

    def build(self) -> Loaded:
        """Read the files; val is carved from the training images, the test images are kept."""
        contents = map(read_idx, self.sources(), self.raw_sha256)
        train_images, train_labels, test_images, test_labels = contents
        n_train = len(train_images)
        labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
        test = np.arange(n_train, len(labels))
        carved = carve(
            labels[:n_train],
            val=self.standard["val"].images,
            test=0,
            rng=Rng(0).child(self.kind),
        )
        return Loaded(
            pixels=np.concatenate([train_images, test_images])[:, None],
            labels=labels,
            class_names=self.class_names,
            groups=None,
            splittings={
                "standard": {**carved, "test": test},
                "classes": {
                    "train": np.flatnonzero(labels[:n_train] < FIRST_TEST_CLASS),
                    "test": test[test_labels >= FIRST_TEST_CLASS],
                },
            },
        )


def gzipped_remotes(
    folder_url: str, sha256s: Sequence[str], sizes: Sequence[int]
) -> tuple[Remote, ...]:
    """Describe the gzipped ``FILES`` in a folder of a server.

    Args:
        folder_url: address of the folder, without a final slash.
        sha256s: hash of each gzipped file.
        sizes: size of each gzipped file in bytes.
    """
    return tuple(
        Remote(f"{folder_url}/{name}.gz", sha256, size)
        for name, sha256, size in zip(FILES, sha256s, sizes, strict=True)
    )


def _spellings(name: str) -> set[str]:
    """The names under which a file is passed on, e.g. ``train-images.idx3-ubyte.gz``."""
    dotted = name.replace("-idx", ".idx")
    return {name, f"{name}.gz", dotted, f"{dotted}.gz"}


def _first_sound(files: list[Path], sha256: str) -> Path:
    """Return the first file that has the expected content.

    Raises:
        DataError: If no file has it; the error is that of the first file.
    """
    faults = []
    for file in files:
        try:
            read_idx(file, sha256)
        except DataError as fault:
            faults.append(fault)
        else:
            return file
    raise faults[0]
