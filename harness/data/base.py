"""The Dataset contract: uint8 images, labels, named splits, content hash, licence and source."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from harness import registry
from harness.data.archive import files_below
from harness.errors import DataError, HarnessError, did_you_mean
from harness.lazy import torch
from harness.paths import Place


@dataclass(frozen=True)
class Images:
    """A set of images.

    Attributes:
        pixels: uint8 (N, C, H, W); behind a front (``harness.fronts``), its output times 255 as
            float32.
        labels: int64 (N,) in [0, n_classes), or None if labels are withheld.
        index: int64 (N,), the position of each image in its dataset: its identity.
        n_classes: number of classes; 0 if labels are withheld.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    index: np.ndarray
    n_classes: int

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @property
    def known_labels(self) -> np.ndarray:
        """The labels, int64 (N,).

        Raises:
            HarnessError: If labels are withheld.
        """
        if self.labels is None:
            raise HarnessError("the labels of these images are withheld")
        return self.labels

    def take(self, rows: np.ndarray) -> Images:
        """Select images by row; the classes stay the same."""
        labels = None if self.labels is None else self.labels[rows]
        return Images(self.pixels[rows], labels, self.index[rows], self.n_classes)

    def unlabelled(self) -> Images:
        """Withhold the labels."""
        return Images(self.pixels, None, self.index, 0)

    def tensor(self, device: str | torch.device = "cpu") -> torch.Tensor:
        """The pixels as float32 (N, C, H, W), in [0, 1] unless they come through a front."""
        return torch.from_numpy(self.pixels).to(device).float() / 255


@dataclass(frozen=True)
class SplitFacts:
    """The sizes of a split.

    Attributes:
        classes: number of classes.
        per_class: number of images of the smallest class.
        images: number of images.
        counts: number of images of each class by name, if classes differ in size; else empty.
    """

    classes: int
    per_class: int
    images: int
    counts: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def of_size(self, needed: int) -> SplitFacts:
        """The facts of the classes that have as many images as needed."""
        kept = {name: count for name, count in self.counts.items() if count >= needed}
        if len(kept) == len(self.counts):
            return self
        return SplitFacts(len(kept), min(kept.values(), default=0), sum(kept.values()), kept)

    @classmethod
    def measure(cls, labels: np.ndarray) -> SplitFacts:
        """Count the labels of a split, int (N,).

        >>> SplitFacts.measure(np.array([3, 7, 7]))
        SplitFacts(classes=2, per_class=1, images=3)
        """
        counts = np.unique(labels, return_counts=True)[1]
        return cls(len(counts), int(counts.min()), len(labels))


@dataclass(frozen=True)
class Facts:
    """The shape and the splits of a dataset, known without reading it.

    Suites are validated against them.

    Attributes:
        image_shape: (C, H, W).
        splittings: facts of each split (train, val, test) of each splitting. The first splitting is
            the default.
        class_disjoint: splittings in which no class is in two splits; few-shot by class transfer
            needs one.
    """

    image_shape: tuple[int, int, int]
    splittings: Mapping[str, Mapping[str, SplitFacts]]
    class_disjoint: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Loaded:
    """A dataset in memory.

    Attributes:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
        class_names: the name of each class.
        groups: the group of each class, e.g. its alphabet, for ``within_group`` episodes; None
            without groups.
        splittings: positions of the images of each split of each splitting, int64, ascending.
    """

    pixels: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: tuple[str, ...] | None
    splittings: Mapping[str, Mapping[str, np.ndarray]]

    def split(self, splitting: str, split: str) -> Images:
        """Return the images of a split.

        Labels are renumbered 0 .. n_classes - 1, in the order of the dataset's own class numbers.

        Raises:
            DataError: If there is no such splitting or split.
        """
        if splitting not in self.splittings:
            raise DataError(
                f"no splitting {splitting!r}", hint=did_you_mean(splitting, self.splittings)
            )
        if split not in self.splittings[splitting]:
            raise DataError(
                f"no split {split!r} in {splitting!r}",
                hint=did_you_mean(split, self.splittings[splitting]),
            )
        rows = self.splittings[splitting][split]
        classes, labels = np.unique(self.labels[rows], return_inverse=True)
        pixels = self.pixels[_as_slice(rows)]
        return Images(pixels, labels.astype(np.int64), rows.astype(np.int64), len(classes))

    def split_classes(self, splitting: str, split: str) -> tuple[str, ...]:
        """Names of the classes of a split, in the order in which ``split`` numbers them."""
        classes = np.unique(self.labels[self.splittings[splitting][split]])
        return tuple(self.class_names[label] for label in classes)

    def split_groups(self, splitting: str, split: str) -> np.ndarray | None:
        """Group numbers of the classes of a split, in the order in which ``split`` numbers them.

        Returns:
            int64 (n_classes,), or None if the dataset has no groups.
        """
        if self.groups is None:
            return None
        classes = np.unique(self.labels[self.splittings[splitting][split]])
        names = np.array(self.groups)[classes]
        return np.unique(names, return_inverse=True)[1]

    def content_hash(self) -> str:
        """The sha256 of pixels, labels, names, groups and splits."""
        digest = hashlib.sha256()
        for array in (self.pixels, self.labels.astype(np.int64)):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(repr((self.class_names, self.groups)).encode())
        for splitting, splits in sorted(self.splittings.items()):
            for split, rows in sorted(splits.items()):
                digest.update(f"{splitting}/{split}:".encode())
                digest.update(np.ascontiguousarray(rows.astype(np.int64)).data)
        return digest.hexdigest()


def _as_slice(rows: np.ndarray) -> slice | np.ndarray:
    """Turn consecutive rows into a slice; other rows are returned unchanged.

    A slice of the (memory-mapped) pixels is a view, where an index array would copy them.
    """
    if not len(rows):
        return rows
    first = int(rows[0])
    last = int(rows[-1])
    # The ends rule out most arrays without a look at all rows.
    if last - first == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(first, last + 1)
    return rows


@dataclass(frozen=True)
class Remote:
    """A file that can be fetched.

    Attributes:
        url: http or https; its last part is the name of the file.
        sha256: hash of the file as the server sends it.
        size: in bytes; no more than that is ever written.
    """

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


class Dataset(ABC):
    """One dataset: its description, and how its files are found and read.

    A subclass is registered with ``@datasets.register(name)``. If it has switches, it defines a
    nested ``Config`` that extends ``Dataset.Config``.

    Args:
        config: an instance of the class's ``Config``.
        root: the data root; needed unless the dataset is embedded.
    """

    kind: ClassVar[str]

    class Config(registry.Config):
        """No switches."""

        @model_serializer(mode="wrap")
        def _without_places(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
            """Places, and keys that are left out, are no part of the key of a cell."""
            keys: dict[str, Any] = handler(self)
            places = self.places()
            return {key: v for key, v in keys.items() if v is not None and key not in places}

        def places(self) -> dict[str, Any]:
            """The absolute path of each file or folder that it names, by key."""
            return {key: str(value.path) for key, value in self if isinstance(value, Place)}

    config: Config

    origin: ClassVar[Literal["embedded", "data root"]]
    are_pixels: ClassVar[bool] = True
    """Whether its values are pixels, which attacks and corruptions change; false for embeddings."""
    folder_name: ClassVar[str] = ""
    """Folder of its files below the data root; empty if it has the name of the dataset."""
    licence: ClassVar[str]
    citation: ClassVar[str]
    how_to_get: ClassVar[str] = ""
    """How a user gets missing files, in one or two sentences."""
    remotes: ClassVar[tuple[Remote, ...]] = ()
    """Files that ``harness data get`` fetches, if their addresses and hashes are certain."""
    pinned: ClassVar[Mapping[str, str]] = {}
    """Known content hashes by config (JSON with sorted keys)."""

    def __init__(self, config: Config, root: Path | None = None) -> None:
        self.config = config
        self.root = root

    @property
    def title(self) -> str:
        """The name of the dataset, with the switches that differ from their defaults."""
        fields = type(self.config).model_fields
        switched = [f"{key}={value}" for key, value in self.config if value != fields[key].default]
        return f"{self.kind} ({', '.join(switched)})" if switched else self.kind

    @property
    def pinned_hash(self) -> str | None:
        """The known content hash under this config, or None."""
        config = json.dumps(self.config.model_dump(mode="json"), sort_keys=True)
        return self.pinned.get(config)

    @property
    def is_present(self) -> bool:
        """Whether all source files exist."""
        try:
            return all(path.exists() for path in self.sources())
        except DataError:
            return False

    @property
    def parts(self) -> list[Dataset]:
        """The datasets that it is made of: itself, unless it combines others."""
        return [self]

    @property
    def place(self) -> Path:
        """The folder of its files below the data root.

        Raises:
            DataError: If no data root is set.
        """
        name = self.folder_name or self.kind
        if self.root is None:
            raise DataError(
                f"{self.kind} is not embedded, and no data root is set",
                hint=(
                    f"set HARNESS_DATA (or --data-root) to the folder for {name}/, then: "
                    f"{self.how_to_get}; `harness data list` shows what is here"
                ),
            )
        return self.root / name

    def find_files(self, names: Sequence[str]) -> list[Path]:
        """Find ``name`` or ``name.gz`` in the dataset's folder, for each name.

        Raises:
            DataError: If no data root is set or files are missing; it lists those.
        """
        paths = []
        missing = []
        for name in names:
            candidates = (self.place / name, self.place / f"{name}.gz")
            path = next((path for path in candidates if path.is_file()), None)
            if path is None:
                missing.append(name)
            else:
                paths.append(path)
        if missing:
            raise DataError(
                f"missing: {', '.join(missing)}", where=str(self.place), hint=self.how_to_get
            )
        return paths

    @abstractmethod
    def facts(self) -> Facts:
        """Return shape and splits without reading the images."""

    @abstractmethod
    def sources(self) -> list[Path]:
        """Return the files (or folders of files) that the dataset is built from.

        Raises:
            DataError: If files are missing; it says how to get them.
        """

    def members(self, folder: Path) -> Mapping[str, str | Path]:
        """Return the files of a source folder that the dataset may read, by name."""
        return files_below(folder)

    def variants(self) -> Iterator[Config]:
        """Yield the configs under which an import may be whole, the default first."""
        yield type(self).Config()

    def remarks(self) -> list[str]:
        """Return what a user should know of this dataset beyond its numbers, in sentences."""
        return []

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """Find the dataset's files at ``path`` and check them, for ``harness data import``.

        Args:
            path: a file or a folder.

        Yields:
            Name below the data root, and content. A large file is given by its path, so that it is
            copied without being held in memory.

        Raises:
            DataError: If the dataset has no files to import, or a file is not the expected one.
        """
        raise DataError(f"{cls.kind} has no files to import", hint=f"it is {cls.origin}")

    @abstractmethod
    def build(self) -> Loaded:
        """Read or render the dataset; every call gives the same content."""
