"""Images of one's own: a folder of them and a CSV that says which is of which class and split. No code is needed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from harness.data.archive import Archive
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.photographs import cropped, photographs
from harness.data.split_csv import Row, read_rows
from harness.errors import DataError
from harness.registry import Config, datasets


@datasets.register("image-folder")
class ImageFolder(Dataset):
    """Images of your own: a folder and a CSV with the columns filename,label,split (without split: all of them test)."""

    class Config(Config):
        """Where the images are, and how they are read."""

        folder: str = Field(
            "image-folder",
            min_length=1,
            description="the folder of images: below the data root, or an absolute path",
        )
        csv: str = Field(
            "split.csv",
            min_length=1,
            description="the CSV (filename,label[,split]): below that folder, or an "
            "absolute path; filenames in it are relative to the folder",
        )
        size: int = Field(
            84,
            ge=8,
            le=512,
            description="side in pixels; an image's largest middle square is resized to it",
        )
        colour: bool = Field(True, description="false: grey, one channel")
        classes: Literal["disjoint", "shared"] = Field(
            "disjoint",
            description="disjoint: no class may be in two splits (few-shot by class transfer); shared: every split "
            "has every class (classification)",
        )

    origin = "data root"
    licence = "that of the images"
    citation = "the user's own images"
    how_to_get = (
        "put images and a split.csv with the columns filename,label,split into a folder and name it: "
        "{kind: image-folder, folder: /path/to/images} (a relative path is below the data root); "
        "`harness data import image-folder FOLDER` makes it the default"
    )

    @property
    def place(self) -> Path:
        """The folder of images."""
        folder = Path(self.config.folder).expanduser()
        if not folder.is_absolute() and self.root is None:
            raise DataError(
                f"no data root is set, below which {self.config.folder!r} could lie",
                hint=f"set HARNESS_DATA (or --data-root), or name an absolute path. {self.how_to_get}",
            )
        return folder if folder.is_absolute() else self.root / folder

    @property
    def _csv(self) -> Path:
        return self.place / Path(self.config.csv).expanduser()

    @cached_property
    def rows(self) -> list[Row]:
        """What the CSV lists, split by split and class by class, so that a split is one stretch of memory.

        Raises:
            DataError: the folder or the CSV is missing or faulty, or classes are in splits in which they must not be.
        """
        if not self.place.is_dir():
            raise DataError("there is no such folder", where=str(self.place), hint=self.how_to_get)
        if not self._csv.exists():
            raise DataError(
                "there is no such file",
                where=str(self._csv),
                hint="it says which image is what: a first line filename,label,split, then a line an image, "
                "e.g. cats/1.jpg,cat,train",
            )
        rows = read_rows(self._csv)
        splits: dict[str, dict[str, int]] = {}
        for row in rows:
            splits.setdefault(row.split or "test", {}).setdefault(row.label, row.line)
        self._check(splits)
        usual = {"train": 0, "val": 1, "test": 2}
        return sorted(
            rows,
            key=lambda row: (usual.get(row.split or "test", 3), row.split, row.label, row.filename),
        )

    def _check(self, splits: dict[str, dict[str, int]]) -> None:
        """``splits``: split -> class -> first line."""
        twice = {
            label: [split for split, labels in splits.items() if label in labels]
            for label in {label for labels in splits.values() for label in labels}
        }
        if self.config.classes == "disjoint":
            faulty = [
                f"{label} ({', '.join(found)})"
                for label, found in sorted(twice.items())
                if len(found) > 1
            ]
            message = "classes are in two splits"
            hint = "give each class to one split, or set classes: shared to classify rather than transfer"
        else:
            faulty = [
                f"{label} (only {', '.join(found)})"
                for label, found in sorted(twice.items())
                if len(found) < len(splits)
            ]
            message, hint = (
                "classes are not in every split",
                "give every split images of them, or set classes: disjoint",
            )
        if faulty:
            more = f" and {len(faulty) - 5} more" if len(faulty) > 5 else ""
            raise DataError(
                f"{message}: {'; '.join(faulty[:5])}{more}", where=str(self._csv), hint=hint
            )

    @property
    def _splitting(self) -> str:
        return "classes" if self.config.classes == "disjoint" else "standard"

    def facts(self) -> Facts:
        """Shape by the config, splits by the CSV: the one dataset of which the facts are read from a file."""
        labels: dict[str, Counter[str]] = {}
        for row in self.rows:
            labels.setdefault(row.split or "test", Counter())[row.label] += 1
        splits = {
            split: SplitFacts(len(found), min(found.values()), found.total())
            for split, found in labels.items()
        }
        disjoint = frozenset({"classes"} if self.config.classes == "disjoint" else ())
        size = self.config.size
        return Facts(
            (3 if self.config.colour else 1, size, size), {self._splitting: splits}, disjoint
        )

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """The folder, or what is in the archive, that holds a split.csv, with all that lies below it."""
        with Archive(path) as archive:
            tops = [
                name.removesuffix("split.csv")
                for name in archive.sizes
                if f"/{name}".endswith("/split.csv")
            ]
            for name in archive.sizes if tops else ():
                if name.startswith(top := min(tops, key=len)):
                    yield (
                        name.removeprefix(top),
                        path / name if path.is_dir() else archive.read(name),
                    )

    def sources(self) -> list[Path]:
        """The CSV and the folder."""
        assert self.rows
        return [self._csv, self.place]

    def build(self) -> Loaded:
        """Every image that is listed, by split, class and name."""
        rows, names = self.rows, sorted({row.label for row in self.rows})
        with Archive(self.place) as archive:
            missing = [row for row in rows if row.filename not in archive.sizes]
            if missing:
                raise DataError(
                    f"{len(missing)} of {len(rows)} images are not there, first {missing[0].filename!r}",
                    where=f"{self._csv}:{missing[0].line}",
                    hint=f"filenames are relative to {self.place}",
                )
            channels = 3 if self.config.colour else 1
            pixels = photographs(
                archive, [row.filename for row in rows], self.config.size, channels, cropped
            )
        self._no_image_twice(pixels)
        of_row = np.array([row.split or "test" for row in rows])
        splits = dict.fromkeys(row.split or "test" for row in rows)
        return Loaded(
            pixels,
            np.array([names.index(row.label) for row in rows], np.int64),
            tuple(names),
            None,
            {self._splitting: {split: np.flatnonzero(of_row == split) for split in splits}},
        )

    def _no_image_twice(self, pixels: np.ndarray) -> None:
        """What is learned on an image must not be tested on the same image under another name."""
        first: dict[bytes, Row] = {}
        for row, image in zip(self.rows, pixels, strict=True):
            known = first.setdefault(hashlib.sha256(image).digest(), row)
            if known.split != row.split:
                raise DataError(
                    f"{known.filename!r} ({known.split}) and {row.filename!r} ({row.split}) are the same image",
                    where=f"{self._csv}:{max(known.line, row.line)}",
                    hint="an image must not be in two splits: remove one of the lines",
                )
