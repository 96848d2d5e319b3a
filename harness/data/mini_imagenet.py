"""miniImageNet in its two common forms: images (folder, zip or tar), or three ``cache`` pickles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from harness.data.archive import Archive, files_below, is_archive, packed
from harness.data.base import Dataset, Facts, Loaded
from harness.data.carve import SPLITS, count_classes, even_facts, rows_of_splits
from harness.data.photographs import photographs, squashed, stacked
from harness.data.pickles import read_pickled
from harness.data.shipped import read_split_list, split_file
from harness.data.split_csv import read_rows
from harness.errors import DataError
from harness.registry import datasets

SPLIT = ("mini_imagenet.txt", "8e2eb4c213d7b5fdbee5c75c12902969b6229a2f05e4a80f5900615fd0cfa55b")
SIDE = 84
PER_CLASS = 600
IMAGE = re.compile(r".*\.jpe?g|.*\.png", re.I)
WNID = re.compile(r"n\d{8}")
PICKLES = {split: f"mini-imagenet-cache-{split}.pkl" for split in SPLITS}
IMAGES = "images.zip"


class ListedClass(NamedTuple):
    """A class in the list of the split; its name is a WordNet id."""

    split: str
    name: str


def listed_classes() -> list[ListedClass]:
    """Return all classes in the order of the list."""
    classes = []
    for split, *names in read_split_list(*SPLIT):
        classes += [ListedClass(split, name) for name in names]
    return classes


@datasets.register("mini-imagenet")
class MiniImageNet(Dataset):
    """Photographs: miniImageNet, 100 classes of 600, split of Ravi and Larochelle, 84 x 84."""

    class Config(Dataset.Config):
        """The size of the photographs."""

        size: int = Field(
            SIDE,
            ge=8,
            le=SIDE,
            description="side in pixels; below 84 they are resized (antialiased)",
        )

    config: Config
    origin = "data root"
    licence = "ImageNet terms of access: non-commercial research and education"
    citation = (
        "Vinyals et al., NeurIPS 2016; split: Ravi, Larochelle, Optimization as a Model for "
        "Few-Shot Learning, ICLR 2017"
    )
    how_to_get = (
        "nobody may redistribute it: get its 60,000 images (with train.csv, val.csv and test.csv "
        "of twitter-research/meta-learning-lstm), or mini-imagenet-cache-{train,val,test}.pkl, "
        "from a colleague or from ImageNet, and run `harness data import mini-imagenet FOLDER`; "
        "mini-imagenet-25 is the part of it that Tiny ImageNet has"
    )

    def facts(self) -> Facts:
        """Return shape and split."""
        counts = count_classes([listed.split for listed in listed_classes()])
        return Facts(
            (3, self.config.size, self.config.size),
            {"classes": even_facts(counts, PER_CLASS)},
            frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """Find the three pickles, or else the images with their CSVs; and the list of the split."""
        split_list = split_file(SPLIT[0])
        pickles = [self.place / name for name in PICKLES.values()]
        if all(path.is_file() for path in pickles):
            return [*pickles, split_list]
        for images in (self.place / IMAGES, self.place / "images"):
            if images.exists():
                csvs = [self.place / f"{split}.csv" for split in SPLITS]
                return [images, *(path for path in csvs if path.is_file()), split_list]
        raise DataError(
            "there are neither images nor mini-imagenet-cache-{train,val,test}.pkl",
            where=str(self.place),
            hint=self.how_to_get,
        )

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """Find the pickles; or else the images, as one zip, and the CSVs beside them."""
        files = {path.name: path} if path.is_file() else files_below(path)
        by_name = {Path(name).name: file for name, file in files.items()}
        pickles = list(_find_pickles(by_name))
        if pickles:
            yield from pickles
        else:
            yield from _find_csvs(by_name)
            yield from _find_images(path, files)

    def build(self) -> Loaded:
        """Read all images: classes in the order of the split, images by name.

        Images of a pickle keep its order.
        """
        first, *others, _ = self.sources()
        classes = listed_classes()
        if first.suffix == ".pkl":
            pixels = self._read_pickles([first, *others], classes)
        else:
            pixels = self._read_images(first, others, classes)
        split_of_image = np.repeat([listed.split for listed in classes], PER_CLASS)
        return Loaded(
            pixels=pixels,
            labels=np.repeat(np.arange(len(classes)), PER_CLASS),
            class_names=tuple(listed.name for listed in classes),
            groups=None,
            splittings={"classes": rows_of_splits(split_of_image, SPLITS)},
        )

    def _read_images(
        self, images: Path, csvs: list[Path], classes: list[ListedClass]
    ) -> np.ndarray:
        with Archive(images) as archive:
            by_class = _members_by_class(archive, csvs)
            members = []
            for listed in classes:
                of_class = by_class.get(listed.name, [])
                if len(of_class) != PER_CLASS:
                    too_many = len(of_class) > PER_CLASS
                    found = sum(map(len, by_class.values()))
                    expected = PER_CLASS * len(classes)
                    raise DataError(
                        f"{found} images found, {expected} expected: class {listed.name} of "
                        f"{listed.split} has {len(of_class)}, not {PER_CLASS}",
                        where=str(images),
                        hint=(
                            "put train.csv, val.csv and test.csv beside it: they list its images"
                            if too_many
                            else self.how_to_get
                        ),
                    )
                members += of_class
            return photographs(archive, members, self.config.size)

    def _read_pickles(self, paths: list[Path], classes: list[ListedClass]) -> np.ndarray:
        size = self.config.size
        parts = []
        for split, path in zip(SPLITS, paths, strict=True):
            images, rows_of_class = read_cache(path, split)
            readers = []
            for listed in classes:
                if listed.split == split:
                    rows = rows_of_class[listed.name]
                    readers += [partial(_resize, images[row], size) for row in rows]
            parts.append(stacked(readers, (3, size, size)))
        return np.concatenate(parts)


def _find_pickles(by_name: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for split, name in PICKLES.items():
        if name in by_name:
            file = by_name[name]
            read_cache(file, split)
            yield name, file


def _find_csvs(by_name: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    """Find the CSVs under either of their names, and reduce them to the two columns needed."""
    for split in SPLITS:
        for name in (f"ravi_{split}.csv.xz", f"{split}.csv"):
            if name in by_name:
                lines = [f"{row.filename},{row.label}\n" for row in read_rows(by_name[name])]
                yield f"{split}.csv", "".join(["filename,label\n", *lines]).encode()
                break


def _find_images(path: Path, files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Find the images of any layout, and pack them into one zip.

    Args:
        path: an archive, or a folder of images or of archives.
        files: the files at or below it, by relative path.
    """
    if is_archive(path) or any(map(IMAGE.fullmatch, files)):
        places = [path]
    else:
        places = [file for file in files.values() if is_archive(file)]
    for place in places:
        with Archive(place) as archive:
            members = [member for member in archive.sizes if IMAGE.fullmatch(member)]
            if members:
                with packed(archive, {member: member for member in members}) as images:
                    yield IMAGES, images
                return


def read_cache(path: Path, split: str) -> tuple[np.ndarray, dict[str, list[int]]]:
    """Read one of the pickles without executing anything in it.

    Returns:
        The images, uint8 (N, 84, 84, 3), and the rows of each class.

    Raises:
        DataError: If the file is damaged, is another pickle, is refused, or has other classes than
            the split.
    """
    content = read_pickled(path, str(path))
    try:
        images = content["image_data"]
        rows_of_class = {
            name: [int(row) for row in rows] for name, rows in content["class_dict"].items()
        }
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(
                f"image_data is {images.dtype} {images.shape}, not uint8 (N, {SIDE}, {SIDE}, 3)"
            )
        all_rows = sorted(row for rows in rows_of_class.values() for row in rows)
        if all_rows != list(range(len(images))):
            raise ValueError("class_dict does not name every image once")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"not a miniImageNet cache: {error}",
            where=str(path),
            hint="it should be a dict with image_data and class_dict",
        ) from error
    expected = {listed.name for listed in listed_classes() if listed.split == split}
    wrong = sorted(map(str, expected ^ set(rows_of_class)))
    if wrong:
        raise DataError(
            f"its classes are not those of {split}: {', '.join(wrong[:3])} ...",
            where=str(path),
            hint="the three files may have been mixed up",
        )
    for name, rows in rows_of_class.items():
        if len(rows) != PER_CLASS:
            raise DataError(
                f"class {name} has {len(rows)} images, not {PER_CLASS}",
                where=str(path),
                hint="get the complete file",
            )
    return images, rows_of_class


def _resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 (84, 84, 3) to (3, size, size)."""
    from PIL import Image

    return np.asarray(squashed(Image.fromarray(pixels), size)).transpose(2, 0, 1)


def _members_by_class(archive: Archive, csvs: list[Path]) -> dict[str, list[str]]:
    """List the images of each class by name: by the CSVs, or else by the WordNet id in the path."""
    images = [member for member in archive.sizes if IMAGE.fullmatch(member)]
    images.sort(key=lambda member: Path(member).name)
    by_class: dict[str, list[str]] = {}
    if not csvs:
        for member in images:
            wnids = WNID.findall(member)
            if wnids:
                by_class.setdefault(wnids[-1], []).append(member)
        return by_class
    by_name = {Path(member).name: member for member in images}
    for path in csvs:
        for row in sorted(read_rows(path), key=lambda row: row.filename):
            if row.filename not in by_name:
                raise archive.fault(
                    f"{row.filename} is missing, which {path.name}:{row.line} lists",
                    MiniImageNet.how_to_get,
                )
            by_class.setdefault(row.label, []).append(by_name[row.filename])
    return by_class
