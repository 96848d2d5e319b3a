"""MNIST, complete, from the data root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.data.archive import files_below
from harness.data.base import Dataset, Facts, Loaded, Remote, SplitFacts
from harness.data.carve import carve
from harness.data.idx import read_idx
from harness.errors import DataError
from harness.registry import datasets
from harness.rng import Rng

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def find_files(
    root: Path | None, folder: str, names: tuple[str, ...], how_to_get: str
) -> list[Path]:
    """``root/folder/name[.gz]`` for each name, or a DataError that lists what is missing."""
    if root is None:
        raise DataError(
            f"{folder} is not embedded, and no data root is set",
            hint=f"set HARNESS_DATA (or --data-root) to the folder that holds {folder}/. {how_to_get}",
        )
    paths = [_first_file(root / folder / name, root / folder / f"{name}.gz") for name in names]
    if missing := [name for name, path in zip(names, paths, strict=True) if path is None]:
        raise DataError(f"missing: {', '.join(missing)}", where=str(root / folder), hint=how_to_get)
    return paths


def _first_file(*candidates: Path) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def _first_sound(files: list[Path], sha256: str) -> Path | None:
    """The first of several namesakes that has the right content; the first one's fault where none has."""
    faults = []
    for file in files:
        try:
            read_idx(file, sha256)
            return file
        except DataError as fault:
            faults.append(fault)
    if faults:
        raise faults[0]
    return None


class IdxFamily(Dataset):
    """What MNIST and its drop-in replacements share: four idx files, 60,000 + 10,000 images of 28 x 28.

    A subclass gives ``raw_sha256`` (of the four files, unzipped, in the order of ``FILES``) and ``class_names``.
    """

    origin = "data root"
    raw_sha256: ClassVar[tuple[str, str, str, str]]
    class_names: ClassVar[tuple[str, ...]]
    smallest_class: ClassVar[Mapping[str, int]]
    """Images of the smallest class: of train, val, test, and of classes 0-4 in train and 5-9 in test."""
    class_split_images: ClassVar[tuple[int, int]]

    def facts(self) -> Facts:
        """Shape and splits."""
        smallest, (background, evaluation) = self.smallest_class, self.class_split_images
        return Facts(
            image_shape=(1, 28, 28),
            splittings={
                "standard": {
                    "train": SplitFacts(10, smallest["train"], 55_000),
                    "val": SplitFacts(10, smallest["val"], 5_000),
                    "test": SplitFacts(10, smallest["test"], 10_000),
                },
                "classes": {
                    "train": SplitFacts(5, smallest["train 0-4"], background),
                    "test": SplitFacts(5, smallest["test 5-9"], evaluation),
                },
            },
            class_disjoint=frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """The four files, gzipped or raw."""
        return find_files(self.root, self.kind, FILES, self.how_to_get)

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, bytes]]:
        """(file name, content) of each of the four files below ``path``, or of the one at ``path``; checked."""
        for name, sha256 in zip(FILES, cls.raw_sha256, strict=True):
            spellings = {
                name,
                f"{name}.gz",
                name.replace("-idx", ".idx"),
                f"{name.replace('-idx', '.idx')}.gz",
            }
            candidates = [path] if path.is_file() else files_below(path).values()
            files = [file for file in candidates if file.name in spellings]
            if file := _first_sound(files, sha256):
                yield name + file.suffix * (file.suffix == ".gz"), file.read_bytes()

    def build(self) -> Loaded:
        """Read the files; val is carved from the 60,000 training images, the 10,000 test images are left alone."""
        images, labels, test_images, test_labels = map(read_idx, self.sources(), self.raw_sha256)
        labels = np.concatenate([labels, test_labels]).astype(np.int64)
        n_train = len(images)
        test = np.arange(n_train, len(labels))
        return Loaded(
            pixels=np.concatenate([images, test_images])[:, None],
            labels=labels,
            class_names=self.class_names,
            groups=None,
            splittings={
                "standard": {
                    **carve(labels[:n_train], val=5_000, test=0, rng=Rng(0).child(self.kind)),
                    "test": test,
                },
                "classes": {
                    "train": np.flatnonzero(labels[:n_train] < 5),
                    "test": test[test_labels >= 5],
                },
            },
        )


@datasets.register("mnist")
class MNIST(IdxFamily):
    """Handwritten digits: MNIST complete, 60,000 + 10,000 images."""

    licence = "CC BY-SA 3.0"
    citation = "LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998"
    how_to_get = (
        "run `harness data get mnist`; or get "
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
        "(.gz or not) and run `harness data import mnist FOLDER`"
    )
    class_names = tuple("0123456789")
    raw_sha256 = (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
    # PyTorch's mirror (torchvision.datasets.MNIST.mirrors); the sums of LeCun's four gzipped files are the same wherever they are
    # recorded (TensorFlow Datasets, url_checksums/mnist.txt).
    remotes = tuple(
        Remote(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz", sha256, size)
        for name, sha256, size in zip(
            FILES,
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            (9_912_422, 28_881, 1_648_877, 4_542),
            strict=True,
        )
    )
    smallest_class = {"train": 4969, "val": 452, "test": 892, "train 0-4": 5842, "test 5-9": 892}
    class_split_images = (30_596, 4_861)
    pinned = {"{}": "5175c7cc99fe5f24a6f8c1123f9341d380cc01149a358bf8113353fae3ca2b88"}
