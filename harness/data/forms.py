"""Forms in which one published set of images is passed on: files of batches, or folders by class.

A form finds its files by their names in a folder or an archive, and reads them. What it reads is
checked here for shape and labels; whether it is the published set is checked by its user.
"""

from __future__ import annotations

import gzip
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from harness.data.archive import Archive
from harness.data.folder_rows import SPLIT_OF_NAME, is_image
from harness.data.photographs import exactly, photographs
from harness.errors import DataError

LARGEST = 1 << 28
"""Most bytes of a file of a form; the largest are EMNIST's 188 million of training digits."""


class Part(NamedTuple):
    """The images of a split.

    Attributes:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
    """

    pixels: np.ndarray
    labels: np.ndarray


Parts = dict[str, Part]
"""The images of the splits ``train`` and ``test``."""


class Form(ABC):
    """One form of a set."""

    @abstractmethod
    def choose(self, names: Collection[str]) -> list[str]:
        """Return those of a folder's or an archive's files that it reads; none if it is absent."""

    @abstractmethod
    def knows(self, filename: str) -> bool:
        """Tell whether a file of this name may be part of it, for imports of single files."""

    @abstractmethod
    def read(self, archive: Archive, names: Sequence[str]) -> Parts:
        """Read the files that were chosen.

        Raises:
            DataError: If one is damaged or does not hold what it should.
        """


@dataclass(frozen=True)
class Files(Form):
    """Files with fixed names, each raw or gzipped.

    Attributes:
        batches: of each split, the files of each batch.
        decode: (contents of the files of a batch, where they are) -> its images.
    """

    batches: Mapping[str, Sequence[tuple[str, ...]]]
    decode: Callable[[Sequence[bytes], str], Part]

    @property
    def _wanted(self) -> list[str]:
        return [name for batches in self.batches.values() for batch in batches for name in batch]

    def choose(self, names: Collection[str]) -> list[str]:
        """Return the files of the highest folder that has all of them."""
        folders: dict[str, dict[str, str]] = {}
        for name in names:
            folder, _, last = name.rpartition("/")
            folders.setdefault(folder, {})[last.removesuffix(".gz")] = name
        for folder in sorted(folders, key=lambda folder: (folder.count("/"), len(folder), folder)):
            files = folders[folder]
            if all(wanted in files for wanted in self._wanted):
                return [files[wanted] for wanted in self._wanted]
        return []

    def knows(self, filename: str) -> bool:
        """Tell whether it is one of the files."""
        return filename.removesuffix(".gz") in self._wanted

    def read(self, archive: Archive, names: Sequence[str]) -> Parts:
        """Read all batches of each split."""
        archive.hold(names, LARGEST)
        members = iter(names)
        parts = {}
        for split, batches in self.batches.items():
            read = []
            for batch in batches:
                chosen = [next(members) for _ in batch]
                where = f"{archive.path}: {chosen[0]}"
                contents = [_unpacked(archive.read(name, LARGEST), where) for name in chosen]
                read.append(self.decode(contents, where))
            pixels = np.concatenate([part.pixels for part in read])
            parts[split] = Part(pixels, np.concatenate([part.labels for part in read]))
        return parts


@dataclass(frozen=True)
class ClassFolders(Form):
    """Lossless images in folders ``train`` and ``test``, and below them in a folder of their class.

    Attributes:
        class_names: names of the folders, in the order of the labels; numbers are known too.
        shape: (C, H, W) of an image.
    """

    class_names: Sequence[str]
    shape: tuple[int, int, int]

    def choose(self, names: Collection[str]) -> list[str]:
        """Return the images of both splits."""
        places = {name: self._place(name) for name in names}
        placed = {name: place for name, place in places.items() if place}
        splits = {split for split, _ in placed.values()}
        return list(placed) if splits == {"train", "test"} else []

    def knows(self, filename: str) -> bool:
        """A single image says nothing of its class."""
        return False

    def _place(self, name: str) -> tuple[str, int] | None:
        """The split and label of a file, from the folders that it is in."""
        *folders, last = name.lower().split("/")
        if not is_image(last):
            return None
        splits = [SPLIT_OF_NAME[folder] for folder in folders if folder in SPLIT_OF_NAME]
        labels = [self._numbers[folder] for folder in folders if folder in self._numbers]
        # Folders of superclasses may be between the split and the class, so the last one counts.
        return (splits[-1], labels[-1]) if splits and labels else None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        numbers = {str(label): label for label in range(len(self.class_names))}
        return numbers | {name.lower(): label for label, name in enumerate(self.class_names)}

    def read(self, archive: Archive, names: Sequence[str]) -> Parts:
        """Decode all images; each must have the size already."""
        channels, side, _ = self.shape
        places = [place for place in map(self._place, names) if place]
        pixels = photographs(archive, names, side, channels, exactly)
        labels = np.array([label for _, label in places], np.int64)
        splits = np.array([split for split, _ in places])
        return {
            split: Part(pixels[splits == split], labels[splits == split])
            for split in ("train", "test")
        }


def part_of(
    pixels: np.ndarray, labels: np.ndarray | Iterable[int], n_classes: int, where: str
) -> Part:
    """Check the images of a batch and their labels.

    Args:
        pixels: uint8 (N, C, H, W).
        labels: N integers.
        n_classes: number of classes.
        where: the file, for errors.

    Raises:
        DataError: If they differ in number, or a label is out of range.
    """
    numbers = np.asarray(labels)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise DataError("its labels are not whole numbers", where=where, hint="fetch it again")
    if len(numbers) != len(pixels):
        raise DataError(
            f"{len(pixels)} images, but {len(numbers)} labels", where=where, hint="fetch it again"
        )
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < n_classes:
        odd = int(numbers.min() if numbers.min() < 0 else numbers.max())
        raise DataError(
            f"label {odd} is not one of {n_classes} classes",
            where=where,
            hint="it may belong to another dataset; fetch the right one",
        )
    return Part(pixels, numbers.astype(np.int64))


def _unpacked(content: bytes, where: str) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            raw = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", where=where, hint="fetch it again") from error
    if len(raw) > LARGEST:
        raise DataError(
            f"more than {LARGEST} bytes after unpacking", where=where, hint="fetch it again"
        )
    return raw
