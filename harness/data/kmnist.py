"""Kuzushiji-MNIST as a shift: train on MNIST's digits, test on other characters."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.data.archive import Archive, files_below
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import by_class, even_facts
from harness.data.idx import read_idx
from harness.data.idx_family import FILES
from harness.data.mnist import MNIST
from harness.errors import DataError
from harness.registry import datasets

NPZ = {
    "kmnist-test-imgs.npz": (
        (10_000, 28, 28),
        "913eb10a25c0d9597c76cf64be01c433abd3396ac2ad42714a4d50846e4534f6",
    ),
    "kmnist-test-labels.npz": (
        (10_000,),
        "77d83a49ca5434c5da77399edc7143065cb3a7b0834e2898ea3094e8c2b21a3c",
    ),
}
"""Shape of the uint8 array in each file, and sha256 of its values."""
NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


@datasets.register("kmnist")
class KMNIST(Dataset):
    """A shift from MNIST: train is its 60,000 digits, test Kuzushiji-MNIST's 10,000 characters."""

    origin = "data root"
    licence = "CC BY-SA 4.0 (KMNIST), CC BY-SA 3.0 (MNIST)"
    citation = (
        "Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718, 2018; "
        f"train: {MNIST.citation}"
    )
    how_to_get = (
        "get kmnist-test-imgs.npz and kmnist-test-labels.npz from codh.rois.ac.jp/kmnist "
        "(NumPy format) and run `harness data import kmnist FOLDER`; it needs mnist too "
        "(`harness data get mnist`)"
    )
    pinned = {"{}": "296615b5c12ed792db02f00bc8f6431d51ce539c0140b11284d33c135d85674b"}

    def facts(self) -> Facts:
        """Return shape and splits.

        Splitting ``shift`` goes from digits to characters, ``characters`` from five characters to
        the five others.
        """
        shift = {"train": SplitFacts(10, 5421, 60_000), "test": SplitFacts(10, 1000, 10_000)}
        characters = even_facts({"train": 5, "test": 5}, 1000)
        return Facts(
            image_shape=(1, 28, 28),
            splittings={"shift": shift, "characters": characters},
            class_disjoint=frozenset({"shift", "characters"}),
        )

    def sources(self) -> list[Path]:
        """Find the two files of KMNIST's test set and MNIST's two training files."""
        own = self.find_files(tuple(NPZ))
        mnist = MNIST(MNIST.Config(), self.root)
        return own + mnist.find_files(FILES[:2])

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Find the two files at or below ``path`` and check them."""
        candidates = [path] if path.is_file() else list(files_below(path).values())
        for name in NPZ:
            file = next((file for file in candidates if file.name == name), None)
            if file:
                read_npz(file)
                yield name, file

    def build(self) -> Loaded:
        """Read MNIST's training digits, then KMNIST's test characters."""
        test_images, test_labels, train_images, train_labels = self.sources()
        images_sha256, labels_sha256, *_ = MNIST.raw_sha256
        digit_labels = read_idx(train_labels, labels_sha256)
        character_labels = read_npz(test_labels)
        digits = read_idx(train_images, images_sha256)
        characters = read_npz(test_images)
        n_train = len(digit_labels)
        test = n_train + np.arange(len(character_labels))
        halves = by_class(character_labels, 5)
        return Loaded(
            pixels=np.concatenate([digits, characters])[:, None],
            labels=np.concatenate([digit_labels.astype(np.int64), character_labels + np.int64(10)]),
            class_names=(*MNIST.class_names, *NAMES),
            groups=None,
            splittings={
                "shift": {"train": np.arange(n_train), "test": test},
                "characters": {split: test[rows] for split, rows in halves.items()},
            },
        )


def read_npz(path: Path) -> np.ndarray:
    """Read the uint8 array of one of KMNIST's npz files.

    Raises:
        DataError: If the file is damaged or has other content than expected.
    """
    shape, sha256 = NPZ[path.name]
    with Archive(path) as archive:
        content = archive.read("arr_0.npy") if "arr_0.npy" in archive.sizes else b""
    # A .npy file is a header followed by the values. Reading the values by their length alone
    # avoids numpy's parser, which would evaluate a header from an unknown source.
    values = content[-math.prod(shape) :]
    actual = hashlib.sha256(values).hexdigest()
    if actual != sha256:
        raise DataError(
            f"not the expected content: sha256 {actual[:16]}..., expected {sha256[:16]}...",
            where=str(path),
            hint=f"fetch it again. {KMNIST.how_to_get}",
        )
    return np.frombuffer(values, np.uint8).reshape(shape)
