"""Which images of a user's folder are read, with their classes and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.data.archive import Archive, listed_files, names_below
from harness.data.base import SplitFacts
from harness.data.carve import SPLITS
from harness.data.folder_rows import LAYOUT, SPLIT_OF_NAME, is_image, rows_of_folders
from harness.data.own_splits import Carve, carved, splittings_of
from harness.data.split_csv import CSV, Row, read_rows
from harness.errors import DataError


@dataclass(frozen=True)
class ImageList:
    """The images of a folder.

    Attributes:
        where: the CSV, or the folder if it has none.
        rows: by split, class and name, so that each split is consecutive; every row has a split.
        files: the file of each name; none for an archive.
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
        folder: the images, or an archive of such a folder.
        csv: the CSV; None if the folder itself tells classes and splits.
        carve: splits to draw.

    Raises:
        DataError: If the CSV or the folder is faulty, or has a split that is to be carved.
    """
    where = csv or folder
    files: Mapping[str, str | Path] = {}
    if folder.is_file():
        where, rows = _listed_in_archive(folder, csv)
    elif csv is None:
        rows = rows_of_folders(names_below(folder), str(folder))
        files = {row.filename: f"{folder}/{row.filename}" for row in rows}
    else:
        rows = [_with_known_split(row, csv) for row in read_rows(csv)]
        files = listed_files(folder, [row.filename for row in rows])
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


def _listed_in_archive(path: Path, csv: Path | None) -> tuple[Path, list[Row]]:
    """List the images of an archive: by a CSV, by the split.csv in it, or by folders of classes.

    Returns:
        What lists them, and the rows, whose names are those of the archive's files.
    """
    with Archive(path) as archive:
        names = [name for name in archive.sizes if not _is_hidden(name)]
        inner = min((name for name in names if _is_split_csv(name)), key=len, default="")
        if csv is None and inner:
            where, top = path / inner, inner.removesuffix(CSV)
            rows = read_rows(where, archive.read(inner))
        elif csv is not None:
            where, top, rows = csv, "", read_rows(csv)
        else:
            where, top = path, _common_folder([name for name in names if is_image(name)])
            rows = rows_of_folders([name.removeprefix(top) for name in names], str(path))
    rows = [_with_known_split(row, where) for row in rows]
    return where, [replace(row, filename=f"{top}{row.filename}") for row in rows]


def _is_hidden(name: str) -> bool:
    """Whether a file is hidden; macOS packs its own beside those of the user.

    >>> _is_hidden("__MACOSX/pets/._dog.png")
    True
    """
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _is_split_csv(name: str) -> bool:
    return f"/{name}".endswith(f"/{CSV}")


def _common_folder(names: Sequence[str]) -> str:
    """The folder that was packed, where images are in folders of classes below it.

    >>> _common_folder(["pets/dog/1.png", "pets/cat/1.png"])
    'pets/'
    >>> _common_folder(["train/dog/1.png", "train/cat/1.png"])
    ''
    """
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any(name.count("/") < 2 for name in names):
        return ""
    (top,) = tops
    return "" if top.lower() in SPLIT_OF_NAME else f"{top}/"


def without_csv(folder: Path) -> str:
    """What to do about a folder without a split.csv and without folders of classes, as a hint."""
    others = sorted(path.name for path in folder.glob("*.csv"))  # none of an archive
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
