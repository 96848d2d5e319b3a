"""Kuzushiji-MNIST as a shift: what was learned on MNIST's digits meets other characters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.data.archive import Archive, files_below
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.idx import read_idx
from harness.data.mnist import FILES, MNIST, find_files
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
    """Cursive Japanese characters as a shift from MNIST: train is MNIST's 60,000 digits, test Kuzushiji-MNIST's 10,000."""

    origin = "data root"
    licence = "CC BY-SA 4.0 (KMNIST), CC BY-SA 3.0 (MNIST)"
    citation = (
        "Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718, 2018; "
        f"train: {MNIST.citation}"
    )
    how_to_get = (
        "get kmnist-test-imgs.npz and kmnist-test-labels.npz from codh.rois.ac.jp/kmnist (NumPy format) and run "
        "`harness data import kmnist FOLDER`; it needs mnist too (`harness data get mnist`)"
    )

    pinned = {"{}": "296615b5c12ed792db02f00bc8f6431d51ce539c0140b11284d33c135d85674b"}

    def facts(self) -> Facts:
        """Shape and splits: ``shift`` goes from digits to characters, ``characters`` from five characters to five others."""
        return Facts(
            image_shape=(1, 28, 28),
            splittings={
                "shift": {
                    "train": SplitFacts(10, 5421, 60_000),
                    "test": SplitFacts(10, 1000, 10_000),
                },
                "characters": {
                    "train": SplitFacts(5, 1000, 5000),
                    "test": SplitFacts(5, 1000, 5000),
                },
            },
            class_disjoint=frozenset({"shift", "characters"}),
        )

    def sources(self) -> list[Path]:
        """The two files of KMNIST's test set, and MNIST's training files."""
        return [
            *find_files(self.root, self.kind, tuple(NPZ), self.how_to_get),
            *find_files(self.root, "mnist", FILES[:2], MNIST.how_to_get),
        ]

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """The two files at or below ``path``, checked."""
        candidates = [path] if path.is_file() else files_below(path).values()
        for name in NPZ:
            for candidate in candidates:
                if candidate.name == name:
                    read_npz(candidate)
                    yield name, candidate
                    break

    def build(self) -> Loaded:
        """MNIST's training digits, then KMNIST's test characters."""
        images, labels, train_images, train_labels = self.sources()
        digits, characters = read_idx(train_labels, MNIST.raw_sha256[1]), read_npz(labels)
        start, own = len(digits), np.arange(len(characters)) + len(digits)
        return Loaded(
            pixels=np.concatenate([read_idx(train_images, MNIST.raw_sha256[0]), read_npz(images)])[
                :, None
            ],
            labels=np.concatenate([digits.astype(np.int64), characters + np.int64(10)]),
            class_names=(*MNIST.class_names, *NAMES),
            groups=None,
            splittings={
                "shift": {"train": np.arange(start), "test": own},
                "characters": {"train": own[characters < 5], "test": own[characters >= 5]},
            },
        )


def read_npz(path: Path) -> np.ndarray:
    """The uint8 array of one of KMNIST's npz files.

    Raises:
        DataError: damaged, or not the expected content.
    """
    shape, sha256 = NPZ[path.name]
    with Archive(path) as archive:
        content = archive.read("arr_0.npy") if "arr_0.npy" in archive.sizes else b""
    raw = content[-int(np.prod(shape)) :]  # of a .npy file only the header comes before the values
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise DataError(
            f"not the expected content: sha256 {found[:16]}..., expected {sha256[:16]}...",
            where=str(path),
            hint=f"fetch it again. {KMNIST.how_to_get}",
        )
    return np.frombuffer(raw, np.uint8).reshape(shape)
