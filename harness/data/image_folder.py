"""The user's own images: a folder, and a CSV with the class and split of each image."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from harness.data.archive import Archive, listed_files
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import SPLITS, rows_of_splits
from harness.data.photographs import WHITE, brightest_of_16_bits, cropped, photographs
from harness.data.split_csv import Row, read_rows
from harness.errors import DataError
from harness.registry import datasets

CSV = "split.csv"
DARK = 31
"""An image of 16 bits that is no brighter than this, of 255, may have values of 13 bits or less."""
SHOWN = 10
"""Classes whose numbers are said."""


@datasets.register("image-folder")
class ImageFolder(Dataset):
    """Your own images: a folder and a CSV with columns filename,label,split (or no split: test)."""

    class Config(Dataset.Config):
        """Where the images are, and how they are read."""

        folder: str = Field(
            "image-folder",
            min_length=1,
            description="the folder of images: below the data root, or an absolute path",
        )
        csv: str = Field(
            CSV,
            min_length=1,
            description=(
                "the CSV (filename,label[,split]): below that folder, or an absolute path; "
                "filenames in it are relative to the folder"
            ),
        )
        size: int = Field(
            84,
            ge=8,
            le=512,
            description="side in pixels; the largest middle square of an image is resized to it",
        )
        colour: bool = Field(True, description="false: grey, one channel")
        classes: Literal["disjoint", "shared"] = Field(
            "disjoint",
            description=(
                "disjoint: no class may be in two splits (few-shot by class transfer); "
                "shared: every split has every class (classification)"
            ),
        )
        class_order: list[str] | None = Field(
            None,
            min_length=1,
            description="all classes in the order of their numbers; alphabetical if left out",
        )
        range: int | None = Field(
            None,
            ge=255,
            le=WHITE,
            description="white in grey images of 16 bits, e.g. 4095 where they hold 12 bits; "
            f"{WHITE} if left out",
        )

        @model_serializer(mode="wrap")
        def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
            """Keys that are left out are no part of the key of a cell."""
            keys: dict[str, Any] = handler(self)
            return {key: value for key, value in keys.items() if value is not None}

    config: Config
    origin = "data root"
    licence = "that of the images"
    citation = "the user's own images"
    how_to_get = (
        "put images and a split.csv with the columns filename,label,split into a folder and name "
        "it: {kind: image-folder, folder: /path/to/images} (a relative path is below the data "
        "root); `harness data import image-folder FOLDER` makes it the default"
    )

    @property
    def place(self) -> Path:
        """The folder of images.

        Raises:
            DataError: If its path is relative and no data root is set.
        """
        folder = Path(self.config.folder).expanduser()
        if folder.is_absolute():
            return folder
        if self.root is None:
            raise DataError(
                f"the folder {self.config.folder!r} is relative, and no data root is set",
                hint=(
                    f"set HARNESS_DATA (or --data-root), or use an absolute path. {self.how_to_get}"
                ),
            )
        return self.root / folder

    @property
    def _csv(self) -> Path:
        return self.place / Path(self.config.csv).expanduser()

    @property
    def _is_disjoint(self) -> bool:
        return self.config.classes == "disjoint"

    @property
    def _splitting(self) -> str:
        return "classes" if self._is_disjoint else "standard"

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of the CSV, by split, class and filename: each split is consecutive in memory.

        Raises:
            DataError: If the folder or the CSV is missing or faulty, or a class is in a split in
                which it must not be.
        """
        if not self.place.is_dir():
            raise DataError("there is no such folder", where=str(self.place), hint=self.how_to_get)
        if not self._csv.exists():
            raise DataError(
                "there is no such file",
                where=str(self._csv),
                hint=(
                    "it lists the images: a first line filename,label,split, then a line an image, "
                    "e.g. cats/1.jpg,cat,train"
                ),
            )
        rows = read_rows(self._csv)
        self._check_splits(rows)
        self._check_classes(rows)
        self._check_order({row.label for row in rows})
        rank = {split: place for place, split in enumerate(SPLITS)}

        def order(row: Row) -> tuple[int, str, str]:
            return rank[_split(row)], row.label, row.filename

        return sorted(rows, key=order)

    def _check_splits(self, rows: list[Row]) -> None:
        """Refuse splits of other names: nothing would ever read them."""
        for row in rows:
            if _split(row) not in SPLITS:
                raise DataError(
                    f"unknown split {row.split!r}",
                    where=f"{self._csv}:{row.line}",
                    hint=f"allowed: {', '.join(SPLITS)}; leave other images out of the CSV",
                )

    def _check_order(self, labels: set[str]) -> None:
        """Refuse an order that does not name every class once."""
        order = self.config.class_order
        if order is None or sorted(order) == sorted(labels):
            return
        for fault, names in {
            "lacks": labels - set(order),
            "has the unknown": set(order) - labels,
            "repeats": {name for name in order if order.count(name) > 1},
        }.items():
            if names:
                raise DataError(
                    f"class_order {fault} {', '.join(map(repr, sorted(names)[:5]))}",
                    where=str(self._csv),
                    hint="it names every class of the CSV once",
                )

    def _check_classes(self, rows: list[Row]) -> None:
        """Refuse classes in two splits (disjoint), or missing from a split (shared)."""
        splits_of_class: dict[str, list[str]] = {}
        for split in dict.fromkeys(map(_split, rows)):
            for label in {row.label for row in rows if _split(row) == split}:
                splits_of_class.setdefault(label, []).append(split)
        if self._is_disjoint:
            faults = [
                f"{label} ({', '.join(splits)})"
                for label, splits in sorted(splits_of_class.items())
                if len(splits) > 1
            ]
            message = "classes are in two splits"
            hint = (
                "give each class to one split, or set classes: shared to classify instead of "
                "transfer"
            )
        else:
            n_splits = len(set(map(_split, rows)))
            faults = [
                f"{label} (only {', '.join(splits)})"
                for label, splits in sorted(splits_of_class.items())
                if len(splits) < n_splits
            ]
            message = "classes are not in every split"
            hint = "give every split images of them, or set classes: disjoint"
        if faults:
            more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise DataError(
                f"{message}: {'; '.join(faults[:5])}{more}", where=str(self._csv), hint=hint
            )

    def facts(self) -> Facts:
        """Return the shape by the config and the splits by the CSV.

        This is the only dataset whose facts are read from a file.
        """
        labels: dict[str, Counter[str]] = {}
        for row in self.rows:
            labels.setdefault(_split(row), Counter())[row.label] += 1
        splits = {
            split: SplitFacts(len(counts), min(counts.values()), counts.total(), counts)
            for split, counts in labels.items()
        }
        disjoint = frozenset({self._splitting}) if self._is_disjoint else frozenset()
        shape = (self._channels, self.config.size, self.config.size)
        return Facts(shape, {self._splitting: splits}, disjoint)

    @property
    def _channels(self) -> int:
        return 3 if self.config.colour else 1

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """Find the highest folder that has a split.csv, and all files below it or listed in it."""
        with Archive(path) as archive:
            folders = [
                name.removesuffix(CSV) for name in archive.sizes if f"/{name}".endswith(f"/{CSV}")
            ]
            if not folders:
                return
            top = min(folders, key=len)
            names = {name.removeprefix(top) for name in archive.sizes if name.startswith(top)}
            if path.is_dir():
                listed = [row.filename for row in read_rows(path / top / CSV)]
                files = listed_files(path / top, [*names, *listed])
                yield from sorted(files.items())
                return
            for name in sorted(names):
                yield name, archive.read(top + name)

    def sources(self) -> list[Path]:
        """Find the CSV and the folder."""
        assert self.rows, "reading the rows checks the files"
        return [self._csv, self.place]

    def members(self, folder: Path) -> Mapping[str, Path]:
        """Return the images that the CSV lists, also behind links and in hidden folders."""
        return listed_files(folder, [row.filename for row in self.rows])

    def variants(self) -> Iterator[Dataset.Config]:
        """Yield configs that read any folder: with shared classes, and with dark images."""
        keys: dict[str, Any] = {"classes": "disjoint"}
        try:
            self._check_classes(read_rows(self._csv))
        except DataError:
            keys["classes"] = "shared"
        yield self.Config.model_validate(keys)
        yield self.Config.model_validate({**keys, "range": WHITE})

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their numbers."""
        return self.config.class_order or sorted({row.label for row in self.rows})

    def remarks(self) -> list[str]:
        """Return how classes are numbered."""
        names = self.class_names
        shown = ", ".join(f"{number} = {name}" for number, name in enumerate(names[:SHOWN]))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        how = "in the order of class_order" if self.config.class_order else "alphabetically"
        return [f"{self.config.folder}: classes are numbered {how}: {shown}{more}"]

    def build(self) -> Loaded:
        """Read every listed image, by split, class and name."""
        rows = self.rows
        with Archive(self.place, self.members(self.place)) as archive:
            self._check_presence(archive.sizes)
            filenames = [row.filename for row in rows]
            white = self.config.range or WHITE
            pixels = photographs(
                archive, filenames, self.config.size, self._channels, cropped, white
            )
            if self.config.range is None:
                self._check_range(archive, pixels)
        self._check_repetition(pixels)
        names = self.class_names
        splits = [_split(row) for row in rows]
        return Loaded(
            pixels=pixels,
            labels=np.array([names.index(row.label) for row in rows], np.int64),
            class_names=tuple(names),
            groups=None,
            splittings={self._splitting: rows_of_splits(splits, tuple(dict.fromkeys(splits)))},
        )

    def _check_presence(self, sizes: Mapping[str, int]) -> None:
        missing = [row for row in self.rows if row.filename not in sizes]
        if missing:
            first = missing[0].filename
            hint = f"filenames are relative to {self.place}"
            if (self.place / first).is_symlink():
                hint = "it is a link to a file that is not there: fetch the files themselves"
            raise DataError(
                f"{len(missing)} of {len(self.rows)} images are missing, first {first!r}",
                where=f"{self._csv}:{missing[0].line}",
                hint=hint,
            )

    def _check_range(self, archive: Archive, pixels: np.ndarray) -> None:
        """Refuse files of 16 bits that hold fewer: they would be nearly black."""
        is_dark = pixels.max(axis=(1, 2, 3)) <= DARK
        brightest = 0
        darkest_row = None
        # Dark images first: without one of 16 bits among them no other file is opened.
        for place in np.argsort(~is_dark, kind="stable"):
            if not is_dark[place] and darkest_row is None:
                return
            row = self.rows[place]
            value = brightest_of_16_bits(archive.read(row.filename))
            if value is None:
                continue
            darkest_row = darkest_row or row
            brightest = max(brightest, value)
            if brightest >> 8 > DARK:
                return
        if darkest_row is not None:
            bits = max(8, brightest.bit_length())
            raise DataError(
                f"nearly black: no value of its files of 16 bits, such as "
                f"{darkest_row.filename!r}, is above {brightest} of {WHITE}",
                where=str(self.place),
                hint=f"state what is white: `range: {2**bits - 1}` if they hold {bits} bits, "
                f"`range: {WHITE}` if they are dark; colours have to be saved with 8 bits",
            )

    def _check_repetition(self, pixels: np.ndarray) -> None:
        """Refuse an image that is in two splits under different names: it would leak."""
        first: dict[bytes, Row] = {}
        for row, image in zip(self.rows, pixels, strict=True):
            other = first.setdefault(hashlib.sha256(image).digest(), row)
            if _split(other) != _split(row):
                raise DataError(
                    f"{other.filename!r} ({other.split}) and {row.filename!r} ({row.split}) "
                    "are the same image",
                    where=f"{self._csv}:{max(other.line, row.line)}",
                    hint="an image must not be in two splits: remove one of the lines",
                )


def _split(row: Row) -> str:
    """The split of an image, in lower case; without a split column every image is for the test."""
    return row.split.lower() or "test"
