"""The user's own images in a .npz file, as MedMNIST and Keras lay it out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from harness.data.archive import Archive
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import SPLITS, rows_of_splits
from harness.data.npy import LONGEST, Header, read_npy
from harness.data.own_splits import DISJOINT, Carve, carved, splittings_of
from harness.errors import DataError
from harness.paths import Place
from harness.registry import datasets

FILE = "images.npz"
LARGEST = 8 << 30
"""Most bytes of an array."""
LAYOUTS = {
    "MedMNIST": [(split, f"{split}_images", f"{split}_labels") for split in SPLITS],
    "Keras": [(split, f"x_{split}", f"y_{split}") for split in SPLITS],
    "one split": [("test", "images", "labels")],
}
"""The arrays of images and of labels of each split."""


class _Content(NamedTuple):
    """What a file holds, without the pixels.

    Attributes:
        images: the array of images of each split that is there.
        shape: (C, H, W).
        order: int64 (N,), position of each image in the file: train first, then val, then test.
        labels: int64 (N,), the class of each image, in that order.
        splits: str (N,), its split.
        names: the classes.
    """

    images: Mapping[str, str]
    shape: tuple[int, int, int]
    order: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    names: tuple[str, ...]


@datasets.register("npz")
class Npz(Dataset):
    """Your own images: a .npz with train_images, train_labels, val_... and test_... (MedMNIST)."""

    class Config(Dataset.Config):
        """Where the images are, and how they are split."""

        file: Place | None = Field(
            None, description=f"the .npz file; npz/{FILE} below the data root if left out"
        )
        carve: Carve | None = Field(
            None, description="splits to draw, e.g. {val: 0.1, test: 0.2, seed: 0}"
        )
        classes: Literal["disjoint", "shared"] | None = Field(
            None,
            description=(
                "disjoint: no class may be in two splits; shared: every split has every class; "
                "whichever the splits are if left out"
            ),
        )

        class_names: list[str] | None = Field(
            None,
            min_length=2,
            description=(
                "names of the classes in the order of their numbers, which a .npz does not have; "
                "the numbers if left out"
            ),
        )

        @field_validator("class_names", mode="before")
        @classmethod
        def _of_text(cls, names: Any) -> Any:
            return json.loads(names) if isinstance(names, str) and names[:1] == "[" else names

        @model_serializer(mode="wrap")
        def _as_text(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
            """As text, because a worker looks up what it has loaded by its keys."""
            keys: dict[str, Any] = dump(self)
            names = keys.pop("class_names")
            # Without it the keys of cells are those that they had before there was this key.
            return keys if names is None else {**keys, "class_names": json.dumps(names)}

    config: Config
    origin = "data root"
    licence = "that of the images"
    citation = "the user's own images"
    how_to_get = (
        "name a .npz with the arrays train_images, train_labels and so on for val and test, as "
        "MedMNIST's, or x_train, y_train, x_test, y_test, or images and labels for a test: "
        "{kind: npz, file: path/to/images.npz}; `harness data import npz FILE` makes it the default"
    )

    @property
    def _file(self) -> Path:
        return self.config.file.below(self.root) if self.config.file else self.place / FILE

    def sources(self) -> list[Path]:
        """Find the file."""
        if not self._file.is_file():
            raise DataError("there is no such file", where=str(self._file), hint=self.how_to_get)
        return [self._file]

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Take one .npz file."""
        if path.is_file():
            yield FILE, path

    def facts(self) -> Facts:
        """Return shape and splits, from the labels and from the headers of the images."""
        content = self._content
        splittings = self._splittings
        splits = {
            split: SplitFacts.measure(content.labels[rows]) for split, rows in self._rows().items()
        }
        disjoint = frozenset(splittings) & {DISJOINT}
        return Facts(content.shape, dict.fromkeys(splittings, splits), disjoint)

    @property
    def _splittings(self) -> list[str]:
        content = self._content
        memberships = [
            (content.names[label], split)
            for label in range(len(content.names))
            for split in SPLITS
            if (content.splits[content.labels == label] == split).any()
        ]
        return splittings_of(memberships, self.config.classes, str(self._file))

    def _rows(self) -> dict[str, np.ndarray]:
        """Positions of each split's images."""
        splits = self._content.splits
        return rows_of_splits(splits, list(dict.fromkeys(splits.tolist())))

    @cached_property
    def _content(self) -> _Content:
        (path,) = self.sources()
        if not zipfile.is_zipfile(path):
            raise DataError("not a .npz file", where=str(path), hint=self.how_to_get)
        with Archive(path) as archive:
            layout = _layout(archive)
            shapes = {split: _image_shape(archive, images) for split, images, _ in layout}
            numbers = {split: _labels(archive, labels) for split, _, labels in layout}
        (count, *shape), *others = shapes.values()
        if any([*other[1:]] != shape for other in others):
            raise self._fault(f"images of several shapes: {sorted(set(shapes.values()))}")
        for split, (count, *_) in shapes.items():
            if count != len(numbers[split]) or not count:
                raise self._fault(f"{split} has {count} images and {len(numbers[split])} labels")
        all_numbers = np.concatenate(list(numbers.values()))
        classes, labels = np.unique(all_numbers, return_inverse=True)
        splits = np.repeat(list(numbers), [len(of_split) for of_split in numbers.values()])
        if self.config.carve:
            splits = carved(splits, labels, self.config.carve, str(path))
        rank = [SPLITS.index(split) for split in splits]
        order = np.argsort(rank, kind="stable")
        channels, height, width = shape
        return _Content(
            {split: images for split, images, _ in layout},
            (channels, height, width),
            order,
            labels.astype(np.int64)[order],
            splits[order],
            self._named(classes),
        )

    def _named(self, classes: np.ndarray) -> tuple[str, ...]:
        """The names of the classes, int (K,); a class without images is left out."""
        names = self.config.class_names
        if names is None:
            return tuple(map(str, classes.tolist()))
        if not 0 <= classes[0] <= classes[-1] < len(names):
            raise DataError(
                f"{len(names)} class names for labels from {classes[0]} to {classes[-1]}",
                where=str(self._file),
                hint="class_names names class 0 first",
            )
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"two classes are called {twice!r}",
                where=str(self._file),
                hint="give each class a name of its own",
            )
        return tuple(names[label] for label in classes)

    def build(self) -> Loaded:
        """Read the images, split by split, each in the order of the file."""
        content = self._content
        with Archive(self._file) as archive:
            read = [_images(archive, name) for name in content.images.values()]
        return Loaded(
            pixels=np.concatenate(read)[content.order],
            labels=content.labels,
            class_names=content.names,
            groups=None,
            splittings=dict.fromkeys(self._splittings, self._rows()),
        )

    def _fault(self, message: str) -> DataError:
        return DataError(message, where=str(self._file), hint="each image needs one label")


def _layout(archive: Archive) -> list[tuple[str, str, str]]:
    """The splits that are there, each with the names of its images and labels.

    Raises:
        DataError: If there are none, or one lacks its labels.
    """
    for entries in LAYOUTS.values():
        there = [entry for entry in entries if f"{entry[1]}.npy" in archive.sizes]
        for _, images, labels in there:
            if f"{labels}.npy" not in archive.sizes:
                raise archive.fault(f"it has {images!r} and no {labels!r}", Npz.how_to_get)
        if there:
            return there
    names = ", ".join(name.removesuffix(".npy") for name in list(archive.sizes)[:8])
    raise archive.fault(f"it has no images, only {names or 'nothing'}", Npz.how_to_get)


def _image_shape(archive: Archive, name: str) -> tuple[int, int, int, int]:
    """Read (N, C, H, W) from the header of an array of images.

    Raises:
        DataError: If they are not images of bytes.
    """
    try:
        header = Header(archive.head(f"{name}.npy", LONGEST))
    except ValueError as error:
        raise archive.fault(f"{name}: {error}", "save plain arrays of uint8") from error
    if header.dtype != np.uint8:
        raise archive.fault(
            f"{name} holds {header.dtype}, not bytes",
            "save values from 0 to 255 as uint8: np.rint(255 * x).astype(np.uint8) for 0 to 1",
        )
    shape = header.shape
    if len(shape) == 3:
        count, height, width = shape
        return count, 1, height, width
    if len(shape) == 4 and shape[3] in (1, 3):
        count, height, width, channels = shape
        return count, channels, height, width
    if len(shape) == 4 and shape[1] in (1, 3):
        count, channels, height, width = shape
        return count, channels, height, width
    raise archive.fault(
        f"{name} has the shape {shape}", "images are (N, H, W), (N, H, W, 3) or (N, 3, H, W)"
    )


def _images(archive: Archive, name: str) -> np.ndarray:
    """Read images, uint8 (N, C, H, W)."""
    array = _array(archive, name)
    shape = _image_shape(archive, name)
    is_last = array.ndim == 4 and array.shape[3] in (1, 3)
    return (array.transpose(0, 3, 1, 2) if is_last else array).reshape(shape)


def _labels(archive: Archive, name: str) -> np.ndarray:
    """Read labels, int (N,).

    Raises:
        DataError: If an image has several labels, or they are not whole numbers.
    """
    array = _array(archive, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise archive.fault(
            f"{name} has the shape {array.shape} and holds {array.dtype}",
            "each image has one class, a whole number: (N,) or (N, 1)",
        )
    return array


def _array(archive: Archive, name: str) -> np.ndarray:
    try:
        return read_npy(archive.read(f"{name}.npy", LARGEST))
    except ValueError as error:
        raise archive.fault(f"{name}: {error}", "save it again with np.savez") from error
