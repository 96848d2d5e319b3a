"""Published sets of train and test images, in whatever form they are at hand.

The forms of one set hold the same images in different orders: class folders in order of file names,
batches in the order in which they were packed. Images are therefore brought into one order, that of
the sha256 of their records (a byte of label, then the pixels). So every form has the same content
hash, gives the same keys, and draws the same images.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from harness.data.archive import Archive, is_archive, names_below
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import shares
from harness.data.forms import Form, Part
from harness.errors import DataError
from harness.paths import Place

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")
"""Endings of files that are tried as archives."""


class Source(NamedTuple):
    """What a set is read from.

    Attributes:
        path: a folder or an archive.
        names: of a folder, the files that are read; of an archive none, because listing a large one
            takes seconds.
    """

    path: Path
    names: tuple[str, ...]


class Published(Dataset):
    """Train and test images of named classes. Validation images are carved from train."""

    class Config(Dataset.Config):
        """Where the files are."""

        folder: Place | None = Field(
            None, description="its folder, or an archive; below the data root if left out"
        )

    config: Config
    origin = "data root"
    shape: ClassVar[tuple[int, int, int]]
    """(C, H, W) of an image."""
    usual: ClassVar[tuple[str, ...]] = ()
    """Paths below the data root at which other libraries keep it."""
    records: ClassVar[Mapping[str, str]] = {}
    """Known order-free hash of the records of ``train`` and of ``test``."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their labels."""

    @property
    @abstractmethod
    def counts(self) -> Mapping[str, Sequence[int]]:
        """Images of each class in ``train`` and in ``test``."""

    @property
    @abstractmethod
    def forms(self) -> tuple[Form, ...]:
        """The forms that are read; the first one that is found counts."""

    @property
    def _validation(self) -> np.ndarray:
        """Images of each class that are carved from ``train``: a tenth of them."""
        train = np.array(self.counts["train"])
        return shares(train, int(train.sum()) // 10)

    def facts(self) -> Facts:
        """Return shape and splits, from the published counts of each class."""
        val = self._validation
        counts = {
            "train": np.array(self.counts["train"]) - val,
            "val": val,
            "test": np.array(self.counts["test"]),
        }
        splits = {
            split: SplitFacts(len(of_class), int(of_class.min()), int(of_class.sum()))
            for split, of_class in counts.items()
        }
        return Facts(self.shape, {"standard": splits})

    def sources(self) -> list[Path]:
        """Find the folder or archive that it is read from."""
        return [self._source.path]

    def members(self, folder: Path) -> Mapping[str, str | Path]:
        """Return the files of its form."""
        # Texts, because a path object for each of 60,000 images takes a second.
        return {name: f"{folder}/{name}" for name in self._source.names}

    @cached_property
    def _source(self) -> Source:
        places = self._places()
        for place in places:
            source = self._look(place)
            if source:
                return source
        raise DataError(
            f"{self.kind} is not there",
            where=" or ".join(map(str, places[:2])),
            hint=self.how_to_get,
        )

    def _places(self) -> list[Path]:
        if self.config.folder is not None:
            return [self.config.folder.below(self.root)]
        return [self.place, *(self.place.parent / path for path in self.usual)]

    def _look(self, path: Path) -> Source | None:
        """Find a form in a folder, or an archive in it; an archive's content is not looked at."""
        if path.is_file():
            return Source(path, ())
        if not path.is_dir():
            return None
        files = names_below(path)
        for form in self.forms:
            names = form.choose(files)
            if names:
                return Source(path, tuple(names))
        for name in files:
            if name.endswith(ARCHIVES) and is_archive(path / name):
                return Source(path / name, ())
        return None

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Find its files or its archive at or below ``path``."""
        dataset = cls(cls.Config.model_validate({}))
        if path.is_file() and not is_archive(path):
            if any(form.knows(path.name) for form in dataset.forms):
                yield path.name, path
            return
        source = dataset._look(path)
        if source is None:
            return
        if not source.names:
            with Archive(source.path) as archive:
                dataset._form_in(archive)
            yield source.path.name, source.path
        for name in source.names:
            yield name, source.path / name

    def _form_in(self, archive: Archive) -> tuple[Form, list[str]]:
        for form in self.forms:
            names = form.choose(archive.sizes)
            if names:
                return form, names
        raise archive.fault(f"it has no form of {self.kind}", self.how_to_get)

    def build(self) -> Loaded:
        """Read the images: train, val, test, each in the order of the records' hashes."""
        source = self._source
        files = self.members(source.path) if source.names else None
        with Archive(source.path, files) as archive:
            form, names = self._form_in(archive)
            parts = form.read(archive, names)
        for split, part in parts.items():
            self._check(split, part)
            parts[split] = self._in_order(split, part)
        train, test = parts["train"], parts["test"]
        is_val = _first_of_each_class(train.labels, self._validation)
        pixels = [train.pixels[~is_val], train.pixels[is_val], test.pixels]
        labels = [train.labels[~is_val], train.labels[is_val], test.labels]
        ends = np.cumsum([len(of_split) for of_split in labels])
        return Loaded(
            pixels=np.concatenate(pixels),
            labels=np.concatenate(labels),
            class_names=self.class_names,
            groups=None,
            splittings={
                "standard": {
                    "train": np.arange(ends[0]),
                    "val": np.arange(ends[0], ends[1]),
                    "test": np.arange(ends[1], ends[2]),
                }
            },
        )

    def _check(self, split: str, part: Part) -> None:
        """Refuse other shapes and numbers of images than published."""
        if part.pixels.dtype != np.uint8 or part.pixels.shape[1:] != self.shape:
            raise self._fault(f"images of shape {part.pixels.shape[1:]}, not {self.shape}")
        published = np.array(self.counts[split])
        here = np.bincount(part.labels, minlength=len(published))
        odd = np.flatnonzero(here != published)
        if len(odd):
            name = self.class_names[odd[0]]
            raise self._fault(
                f"{split} has {here[odd[0]]} images of class {name!r}, not {published[odd[0]]}"
            )

    def _in_order(self, split: str, part: Part) -> Part:
        """Bring images into the order of their records' hashes, and check the hash of all."""
        digests = [
            hashlib.sha256(bytes([label]) + image.tobytes()).digest()
            for label, image in zip(part.labels.tolist(), part.pixels, strict=True)
        ]
        order = sorted(range(len(digests)), key=digests.__getitem__)
        found = hashlib.sha256(b"".join(digests[row] for row in order)).hexdigest()
        if self.records.get(split, found) != found:
            raise self._fault(
                f"the {split} images are not those of {self.kind}: hash {found[:16]}..., "
                f"expected {self.records[split][:16]}..."
            )
        return Part(part.pixels[order], part.labels[order])

    def _fault(self, message: str) -> DataError:
        hint = f"image files must be lossless copies. {self.how_to_get}"
        return DataError(message, where=str(self._source.path), hint=hint)


def _first_of_each_class(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Mark the first images of each class.

    Args:
        labels: int (N,).
        numbers: int (C,), how many of each class.

    Returns:
        bool (N,).

    >>> _first_of_each_class(np.array([1, 0, 1, 0]), np.array([2, 1]))
    array([ True,  True, False,  True])
    """
    marked = np.zeros(len(labels), bool)
    for label, number in enumerate(numbers):
        marked[np.flatnonzero(labels == label)[:number]] = True
    return marked
