"""The user's own images: a folder with a folder for each class, or with a CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_serializer, field_validator

from harness.data.archive import Archive, is_archive, listed_files
from harness.data.base import Dataset, Facts, Loaded
from harness.data.carve import rows_of_splits
from harness.data.folder_rows import is_image
from harness.data.image_list import ImageList, list_images, without_csv
from harness.data.own_splits import DISJOINT, Carve
from harness.data.photographs import WHITE, brightest_of_16_bits, cropped, photographs
from harness.data.split_csv import CSV, Row, read_rows
from harness.errors import DataError
from harness.paths import Place
from harness.registry import datasets

DARK = 31
"""An image of 16 bits that is no brighter than this, of 255, may have values of 13 bits or less."""
SHOWN = 10
"""Classes whose numbers are said."""


@datasets.register("image-folder")
class ImageFolder(Dataset):
    """Your own images: folders train/<class>, val/<class>, test/<class>, or <class>, or a CSV."""

    class Config(Dataset.Config):
        """Where the images are, and how they are read."""

        folder: Place | None = Field(
            None,
            description=(
                "the folder of images, or a zip or tar of it; "
                "image-folder below the data root if left out"
            ),
        )
        csv: Place | None = Field(
            None,
            description=(
                "a CSV (filename,label[,split]), which may be in that folder; filenames in it are "
                "relative to the folder; split.csv there, if there is one, if left out"
            ),
        )
        carve: Carve | None = Field(
            None, description="splits to draw, e.g. {val: 0.1, test: 0.2, seed: 0}"
        )
        size: int = Field(
            84,
            ge=8,
            le=512,
            description="side in pixels; the largest middle square of an image is resized to it",
        )
        colour: bool = Field(True, description="false: grey, one channel")
        classes: Literal["disjoint", "shared"] | None = Field(
            None,
            description=(
                "disjoint: no class may be in two splits (few-shot by class transfer); "
                "shared: every split has every class (classification); "
                "whichever the splits are if left out"
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

        @field_validator("class_order", mode="before")
        @classmethod
        def _of_text(cls, order: Any) -> Any:
            return json.loads(order) if isinstance(order, str) and order[:1] == "[" else order

        @field_serializer("class_order")
        def _as_text(self, order: list[str] | None) -> str | None:
            """As text, because a worker looks up what it has loaded by its keys."""
            return None if order is None else json.dumps(order)

    config: Config
    origin = "data root"
    licence = "that of the images"
    citation = "the user's own images"
    how_to_get = (
        "put images into a folder for each class, or a split.csv with the columns "
        "filename,label,split beside them, and name it: "
        "{kind: image-folder, folder: path/to/images}; "
        "`harness data import image-folder FOLDER` makes it the default"
    )

    @property
    def place(self) -> Path:
        """The folder of images.

        Raises:
            DataError: If none is named and no data root is set.
        """
        return self.config.folder.below(self.root) if self.config.folder else super().place

    @property
    def _csv(self) -> Path | None:
        """The CSV; None if there is none."""
        if self.config.csv is not None:
            return self.config.csv.below(self.place)
        path = self.place / CSV
        return path if path.exists() else None

    @property
    def rows(self) -> Sequence[Row]:
        """The images, by split, class and name: each split is consecutive in memory."""
        return self.images.rows

    @cached_property
    def images(self) -> ImageList:
        """The images with their classes and splits.

        Raises:
            DataError: If the folder or the CSV is missing or faulty, or a class is in a split in
                which it must not be.
        """
        if not self.place.is_dir() and not is_archive(self.place):
            raise DataError(
                "there is no such folder or archive", where=str(self.place), hint=self.how_to_get
            )
        csv = self._csv
        if csv and not csv.exists():
            raise DataError(
                "there is no such file",
                where=str(csv),
                hint=(
                    "it lists the images: a first line filename,label,split, then a line an image, "
                    "e.g. cats/1.jpg,cat,train"
                ),
            )
        try:
            images = list_images(self.place, csv, self.config.carve)
        except DataError as fault:
            if csv:
                raise
            hint = without_csv(self.place)
            raise DataError(fault.message, where=fault.where, hint=hint) from fault
        images.splittings(self.config.classes)
        self._check_order(images)
        return images

    def _check_order(self, images: ImageList) -> None:
        """Refuse an order that does not name every class once."""
        order = self.config.class_order
        labels = images.labels
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
                    where=str(images.where),
                    hint="it names every class once",
                )

    def facts(self) -> Facts:
        """Return shape and splits, counted in the list of images.

        This is the only dataset whose facts are read from a file.
        """
        splittings = self.images.splittings(self.config.classes)
        splits = self.images.facts()
        shape = (self._channels, self.config.size, self.config.size)
        disjoint = frozenset(splittings) & {DISJOINT}
        return Facts(shape, dict.fromkeys(splittings, splits), disjoint)

    @property
    def _channels(self) -> int:
        return 3 if self.config.colour else 1

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """Find the highest folder that has a split.csv, and all files below it or listed in it.

        Without any split.csv, find all images in folders.
        """
        with Archive(path) as archive:
            folders = [
                name.removesuffix(CSV) for name in archive.sizes if f"/{name}".endswith(f"/{CSV}")
            ]
            top = min(folders, key=len, default="")
            names = {name.removeprefix(top) for name in archive.sizes if name.startswith(top)}
            if not folders:
                names = {name for name in names if is_image(name)}
            if path.is_dir():
                rows = read_rows(path / top / CSV) if folders else []
                files = listed_files(path / top, [*names, *(row.filename for row in rows)])
                yield from sorted(files.items())
                return
            for name in sorted(names):
                yield name, archive.read(top + name)

    def sources(self) -> list[Path]:
        """Find the CSV, if there is one, and the folder."""
        csv = self._csv if self.images else None
        return [self.place] if csv is None else [csv, self.place]

    def members(self, folder: Path) -> Mapping[str, str | Path]:
        """Return the images that are listed, also behind links and in hidden folders."""
        return self.images.files

    def variants(self) -> Iterator[Dataset.Config]:
        """Yield configs that read any folder, with dark images too."""
        yield self.Config.model_validate({})
        yield self.Config.model_validate({"range": WHITE})

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their numbers."""
        return self.config.class_order or sorted(self.images.labels)

    def remarks(self) -> list[str]:
        """Return how classes are numbered."""
        names = self.class_names
        shown = ", ".join(f"{number} = {name}" for number, name in enumerate(names[:SHOWN]))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        how = "in the order of class_order" if self.config.class_order else "alphabetically"
        return [f"{self.config.folder or self.kind}: classes are numbered {how}: {shown}{more}"]

    def build(self) -> Loaded:
        """Read every listed image, by split, class and name."""
        rows = self.rows
        with Archive(self.place, self.images.files or None) as archive:
            self._check_presence(archive.sizes)
            filenames = [row.filename for row in rows]
            white = self.config.range or WHITE
            pixels = photographs(
                archive, filenames, self.config.size, self._channels, cropped, white
            )
            if self.config.range is None:
                self._check_range(archive, pixels)
        self._check_repetition(pixels)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        splits = rows_of_splits([row.split for row in rows], self.images.splits)
        return Loaded(
            pixels=pixels,
            labels=np.array([numbers[row.label] for row in rows], np.int64),
            class_names=tuple(numbers),
            groups=None,
            splittings=dict.fromkeys(self.images.splittings(self.config.classes), splits),
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
                where=self.images.place(missing[0]),
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
            if other.split != row.split:
                later = max(other, row, key=lambda each: each.line)
                raise DataError(
                    f"{other.filename!r} ({other.split}) and {row.filename!r} ({row.split}) "
                    "are the same image",
                    where=self.images.place(later),
                    hint="an image must not be in two splits: remove one of the two",
                )
