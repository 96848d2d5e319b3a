"""The user's own images: a folder, and a CSV with the class and split of each image."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from harness.data.archive import Archive
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import SPLITS, rows_of_splits
from harness.data.photographs import cropped, photographs
from harness.data.split_csv import Row, read_rows
from harness.errors import DataError
from harness.registry import datasets

CSV = "split.csv"


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
        self._check_classes(rows)
        rank = {split: place for place, split in enumerate(SPLITS)}

        def order(row: Row) -> tuple[int, str, str, str]:
            return rank.get(_split(row), len(SPLITS)), row.split, row.label, row.filename

        return sorted(rows, key=order)

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
            split: SplitFacts(len(counts), min(counts.values()), counts.total())
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
        """Find the highest folder that has a split.csv, and all files below it."""
        with Archive(path) as archive:
            folders = [
                name.removesuffix(CSV) for name in archive.sizes if f"/{name}".endswith(f"/{CSV}")
            ]
            if not folders:
                return
            top = min(folders, key=len)
            for name in archive.sizes:
                if name.startswith(top):
                    content = path / name if path.is_dir() else archive.read(name)
                    yield name.removeprefix(top), content

    def sources(self) -> list[Path]:
        """Find the CSV and the folder."""
        assert self.rows, "reading the rows checks the files"
        return [self._csv, self.place]

    def build(self) -> Loaded:
        """Read every listed image, by split, class and name."""
        rows = self.rows
        with Archive(self.place) as archive:
            self._check_presence(archive.sizes)
            filenames = [row.filename for row in rows]
            pixels = photographs(archive, filenames, self.config.size, self._channels, cropped)
        self._check_repetition(pixels)
        names = sorted({row.label for row in rows})
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
            raise DataError(
                f"{len(missing)} of {len(self.rows)} images are missing, "
                f"first {missing[0].filename!r}",
                where=f"{self._csv}:{missing[0].line}",
                hint=f"filenames are relative to {self.place}",
            )

    def _check_repetition(self, pixels: np.ndarray) -> None:
        """Refuse an image that is in two splits under different names: it would leak."""
        first: dict[bytes, Row] = {}
        for row, image in zip(self.rows, pixels, strict=True):
            other = first.setdefault(hashlib.sha256(image).digest(), row)
            if other.split != row.split:
                raise DataError(
                    f"{other.filename!r} ({other.split}) and {row.filename!r} ({row.split}) "
                    "are the same image",
                    where=f"{self._csv}:{max(other.line, row.line)}",
                    hint="an image must not be in two splits: remove one of the lines",
                )


def _split(row: Row) -> str:
    """The split of an image; without a split column every image is for the test."""
    return row.split or "test"
