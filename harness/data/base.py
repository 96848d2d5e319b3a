"""What a dataset is: uint8 images, labels, named splits, a content hash, a licence and a source."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from harness.errors import DataError, did_you_mean
from harness.lazy import torch
from harness.registry import Config


@dataclass(frozen=True)
class Images:
    """A set of images.

    Attributes:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,) in [0, n_classes), or None where labels are withheld.
        index: int64 (N,), each image's position in its dataset: its identity.
        n_classes: number of classes among which the labels choose (kept when labels are withheld: 0 then).
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
        return tuple(self.pixels.shape[1:])

    def take(self, rows: np.ndarray) -> Images:
        """The images at ``rows``, with the same classes."""
        return Images(
            self.pixels[rows],
            None if self.labels is None else self.labels[rows],
            self.index[rows],
            self.n_classes,
        )

    def unlabelled(self) -> Images:
        """The same images with their labels withheld."""
        return Images(self.pixels, None, self.index, 0)

    def tensor(self, device: str | torch.device = "cpu") -> torch.Tensor:
        """float32 (N, C, H, W) in [0, 1]."""
        return torch.from_numpy(self.pixels).to(device).float().div_(255)


@dataclass(frozen=True)
class SplitFacts:
    """What is known of a split without reading it.

    Attributes:
        classes: number of classes in it.
        per_class: number of images of the smallest class.
        images: number of images.
    """

    classes: int
    per_class: int
    images: int


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset without reading it; a suite is validated against this.

    Attributes:
        image_shape: (C, H, W).
        splittings: splitting -> split (train, val, test) -> facts. The first splitting is the default.
        class_disjoint: the splittings in which no class is in two splits (few-shot by class transfer needs one).
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
        class_names: one per label.
        groups: one per class, e.g. its alphabet; for ``within_group`` episodes. None where classes have no groups.
        splittings: splitting -> split -> int64 image indices, ascending.
    """

    pixels: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: tuple[str, ...] | None
    splittings: Mapping[str, Mapping[str, np.ndarray]]

    def split(self, splitting: str, split: str) -> Images:
        """A split with its labels renumbered 0 .. n_classes - 1, in order of the dataset's own class numbers."""
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
        return Images(
            self.pixels[_slice_or(rows)],
            labels.astype(np.int64),
            rows.astype(np.int64),
            len(classes),
        )

    def split_classes(self, splitting: str, split: str) -> tuple[str, ...]:
        """Name of each class of a split, in the order that ``split`` numbers them."""
        return tuple(
            self.class_names[label]
            for label in np.unique(self.labels[self.splittings[splitting][split]])
        )

    def split_groups(self, splitting: str, split: str) -> np.ndarray | None:
        """Group number of each class of a split, (n_classes,), in the order that ``split`` numbers them."""
        if self.groups is None:
            return None
        classes = np.unique(self.labels[self.splittings[splitting][split]])
        return np.unique(np.array(self.groups)[classes], return_inverse=True)[1]

    def content_hash(self) -> str:
        """sha256 over pixels, labels, names, groups and splits."""
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


def _slice_or(rows: np.ndarray) -> slice | np.ndarray:
    """Neighbouring rows as a slice: a view of the (memory-mapped) pixels instead of a copy of them."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


@dataclass(frozen=True)
class Remote:
    """A file that can be fetched.

    Attributes:
        url: http or https; its last part is the file's name.
        sha256: of the file as it is fetched.
        size: in bytes; more than that is never written.
    """

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.url.rpartition("/")[2]


class Dataset(ABC):
    """One dataset: how it is described, found and read. Registered with ``@datasets.register(name)``.

    Args:
        config: an instance of the class's ``Config`` (its switches, e.g. rotations).
        root: the data root, for datasets that are not embedded.
    """

    kind: ClassVar[str]

    class Config(Config):
        """No switches."""

    origin: ClassVar[Literal["embedded", "data root"]]
    folder_name: ClassVar[str] = ""
    """The folder below the data root that its files lie in, where it is not called as the dataset is."""
    licence: ClassVar[str]
    citation: ClassVar[str]
    how_to_get: ClassVar[str] = ""
    """What to do where it is missing, in one or two sentences."""
    remotes: ClassVar[tuple[Remote, ...]] = ()
    """What ``harness data get`` fetches; empty where there is no source whose address and checksum are certain."""
    pinned: ClassVar[Mapping[str, str]] = {}
    """Content hash by config (as JSON with sorted keys), where it is known for certain."""

    def __init__(self, config: Config, root: Path | None = None):
        self.config, self.root = config, root

    @property
    def title(self) -> str:
        """Its name, with the switches that are not at their default."""
        fields = type(self.config).model_fields
        switched = [f"{key}={value}" for key, value in self.config if value != fields[key].default]
        return f"{self.kind} ({', '.join(switched)})" if switched else self.kind

    @property
    def place(self) -> Path:
        """The folder of its files below the data root.

        Raises:
            DataError: no data root is set.
        """
        name = self.folder_name or self.kind
        if self.root is None:
            raise DataError(
                f"{self.kind} is not embedded, and no data root is set",
                hint=f"set HARNESS_DATA (or --data-root) to the folder that holds {name}/. {self.how_to_get}",
            )
        return self.root / name

    @abstractmethod
    def facts(self) -> Facts:
        """Shape and splits, without reading a file."""

    @abstractmethod
    def sources(self) -> list[Path]:
        """The files (or folders of files) it is made from (a DataError says how to get those that are missing)."""

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """Name and content (or place) of each file at ``path`` that belongs in the data root; checked.

        For ``harness data import``; a large file is given by its place, so that it is copied without being held in memory.

        Raises:
            DataError: where the dataset has no files to import, or a file is not what it should be.
        """
        raise DataError(f"{cls.kind} has no files to import", hint=f"it is {cls.origin}")

    @abstractmethod
    def build(self) -> Loaded:
        """Read or render it. Deterministic."""
