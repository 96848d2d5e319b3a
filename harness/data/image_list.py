"""Which images of a user's folder are read, with their classes and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.data.archive import listed_files, names_below
from harness.data.base import SplitFacts
from harness.data.carve import SPLITS
from harness.data.folder_rows import LAYOUT, SPLIT_OF_NAME, rows_of_folders
from harness.data.own_splits import Carve, carved, splittings_of
from harness.data.split_csv import Row, read_rows
from harness.errors import DataError


@dataclass(frozen=True)
class ImageList:
    """The images of a folder.

    Attributes:
        where: the CSV, or the folder if it has none.
        rows: by split, class and name, so that each split is consecutive; every row has a split.
        files: the file of each name.
    """

    where: Path
    rows: Sequence[Row]
    files: Mapping[str, str | Path]

    @property
    def splits(self) -> list[str]:
        """The splits in the order of their images."""
        return list(dict.fromkeys(row.split for row in self.rows))

    @property
    def labels(self) -> set[str]:
        """The classes."""
        return {row.label for row in self.rows}

    def place(self, row: Row) -> str:
        """Where a row is, for errors."""
        return f"{self.where}:{row.line}" if row.line else str(self.where / row.filename)

    def facts(self) -> dict[str, SplitFacts]:
        """The sizes of the splits, and their classes of different sizes."""
        counts: dict[str, Counter[str]] = {}
        for row in self.rows:
            counts.setdefault(row.split, Counter())[row.label] += 1
        return {
            split: SplitFacts(len(of_split), min(of_split.values()), of_split.total(), of_split)
            for split, of_split in counts.items()
        }

    def splittings(self, wanted: str | None) -> list[str]:
        """The splittings that these splits make; see ``splittings_of``."""
        memberships = {(row.label, row.split) for row in self.rows}
        rank = {split: place for place, split in enumerate(SPLITS)}
        ordered = sorted(memberships, key=lambda pair: (pair[0], rank[pair[1]]))
        return splittings_of(ordered, wanted, str(self.where))


def list_images(folder: Path, csv: Path | None, carve: Carve | None) -> ImageList:
    """List the images of a CSV, or else those in folders of their classes.

    Args:
        folder: the images.
        csv: the CSV; None if the folder itself tells classes and splits.
        carve: splits to draw.

    Raises:
        DataError: If the CSV or the folder is faulty, or has a split that is to be carved.
    """
    if csv is None:
        rows = rows_of_folders(names_below(folder), str(folder))
        files: Mapping[str, str | Path] = {row.filename: f"{folder}/{row.filename}" for row in rows}
    else:
        rows = [_with_known_split(row, csv) for row in read_rows(csv)]
        files = listed_files(folder, [row.filename for row in rows])
    where = csv or folder
    rows = sorted(rows, key=lambda row: (row.label, row.filename))
    if carve:
        numbers = {label: number for number, label in enumerate({row.label: 0 for row in rows})}
        labels = np.array([numbers[row.label] for row in rows], np.int64)
        splits = carved(np.array([row.split for row in rows]), labels, carve, str(where))
        rows = [replace(row, split=str(split)) for row, split in zip(rows, splits, strict=True)]
    # Without a split an image is for the test: nothing says that learners may train on it.
    rows = [replace(row, split=row.split or "test") for row in rows]
    rank = {split: place for place, split in enumerate(SPLITS)}
    return ImageList(where, sorted(rows, key=lambda row: rank[row.split]), files)


def without_csv(folder: Path) -> str:
    """What to do about a folder without a split.csv and without folders of classes, as a hint."""
    others = sorted(path.name for path in folder.glob("*.csv"))
    named = f"name the CSV: `csv: {others[0]}`; or " if others else ""
    return f"{named}{LAYOUT}; or list them in a split.csv with the columns filename,label,split"


def _with_known_split(row: Row, csv: Path) -> Row:
    """Refuse splits of other names: nothing would ever read them."""
    split = SPLIT_OF_NAME.get(row.split.lower(), "")
    if row.split and not split:
        raise DataError(
            f"unknown split {row.split!r}",
            where=f"{csv}:{row.line}",
            hint=f"allowed: {', '.join(SPLITS)}; leave other images out of the CSV",
        )
    return replace(row, split=split)
