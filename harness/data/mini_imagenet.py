"""miniImageNet, in either form that its users have: a folder (zip, tar) of images, or the three ``cache`` pickles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.data.archive import Archive, files_below, is_archive, packed
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import listed, split_file
from harness.data.photographs import photographs, squashed, stacked
from harness.data.pickles import read_pickled
from harness.data.split_csv import read_rows
from harness.errors import DataError
from harness.registry import Config, datasets

SPLIT = "mini_imagenet.txt", "8e2eb4c213d7b5fdbee5c75c12902969b6229a2f05e4a80f5900615fd0cfa55b"
SPLITS, SIDE, PER_CLASS = ("train", "val", "test"), 84, 600
IMAGE = re.compile(r".*\.jpe?g|.*\.png", re.I)
WNID = re.compile(r"n\d{8}")
PICKLES = {split: f"mini-imagenet-cache-{split}.pkl" for split in SPLITS}
IMAGES = "images.zip"


@datasets.register("mini-imagenet")
class MiniImageNet(Dataset):
    """Photographs: miniImageNet, 100 classes of 600, 64 / 16 / 20 by the split of Ravi and Larochelle, 84 x 84."""

    class Config(Config):
        """How large the photographs are."""

        size: int = Field(
            SIDE,
            ge=8,
            le=SIDE,
            description="side in pixels; smaller than 84 by antialiased resizing",
        )

    origin = "data root"
    licence = "ImageNet terms of access: non-commercial research and education"
    citation = "Vinyals et al., NeurIPS 2016; split: Ravi, Larochelle, Optimization as a Model for Few-Shot Learning, ICLR 2017"
    how_to_get = (
        "nobody may pass it on freely: get its 60,000 images (with train.csv, val.csv and test.csv of "
        "twitter-research/meta-learning-lstm), or mini-imagenet-cache-{train,val,test}.pkl, from a colleague or from "
        "ImageNet, and run `harness data import mini-imagenet FOLDER`; the part of it that Tiny ImageNet has is "
        "mini-imagenet-25"
    )

    def facts(self) -> Facts:
        """Shape and split."""
        splits = [split for split, *names in listed(*SPLIT) for _ in names]
        counts = {split: splits.count(split) for split in SPLITS}
        return Facts(
            (3, self.config.size, self.config.size),
            {
                "classes": {
                    split: SplitFacts(n, PER_CLASS, n * PER_CLASS) for split, n in counts.items()
                }
            },
            frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """The three pickles if all are there, else the images (``images.zip`` or ``images/``) with the CSVs that are there."""
        folder = self.place
        if all((folder / name).is_file() for name in PICKLES.values()):
            return [*(folder / name for name in PICKLES.values()), split_file(SPLIT[0])]
        for images in (folder / IMAGES, folder / "images"):
            if images.exists():
                csvs = [path for split in SPLITS if (path := folder / f"{split}.csv").is_file()]
                return [images, *csvs, split_file(SPLIT[0])]
        raise DataError(
            "there are neither images nor mini-imagenet-cache-{train,val,test}.pkl",
            where=str(folder),
            hint=self.how_to_get,
        )

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path | bytes]]:
        """Pickles as they are; images of any layout as one zip, with the CSVs that lie beside them."""
        files = {path.name: path} if path.is_file() else files_below(path)
        by_name = {Path(name).name: file for name, file in files.items()}
        if pickles := [
            (split, by_name[name]) for split, name in PICKLES.items() if name in by_name
        ]:
            for split, file in pickles:
                read_cache(file, split)
                yield file.name, file
            return
        csvs = {
            f"{split}.csv": by_name[name]
            for split in SPLITS
            for name in (f"{split}.csv", f"ravi_{split}.csv.xz")
            if name in by_name
        }
        for name, file in csvs.items():
            yield (
                name,
                "".join(
                    [
                        "filename,label\n",
                        *(f"{row.filename},{row.label}\n" for row in read_rows(file)),
                    ]
                ).encode(),
            )
        places = (
            [path]
            if is_archive(path) or any(IMAGE.fullmatch(name) for name in files)
            else [file for file in files.values() if is_archive(file)]
        )
        for place in places:
            with Archive(place) as archive:
                if members := [member for member in archive.sizes if IMAGE.fullmatch(member)]:
                    with packed(archive, {member: member for member in members}) as images:
                        yield IMAGES, images
                    return

    def build(self) -> Loaded:
        """Every image, class by class in the order of the split, by name within a class (in a pickle: by its own order)."""
        first, *others, _ = self.sources()
        classes = [(split, name) for split, *names in listed(*SPLIT) for name in names]
        pixels = (
            self._from_pickles([first, *others], classes)
            if first.suffix == ".pkl"
            else self._from_images(first, others, classes)
        )
        of_image = np.repeat([split for split, _ in classes], PER_CLASS)
        return Loaded(
            pixels,
            np.repeat(np.arange(len(classes)), PER_CLASS),
            tuple(name for _, name in classes),
            None,
            {"classes": {split: np.flatnonzero(of_image == split) for split in SPLITS}},
        )

    def _from_images(
        self, images: Path, csvs: list[Path], classes: list[tuple[str, str]]
    ) -> np.ndarray:
        with Archive(images) as archive:
            found = _by_class(archive, csvs)
            for split, name in classes:
                if len(found.get(name, ())) != PER_CLASS:
                    raise DataError(
                        f"class {name} of {split} has {len(found.get(name, ()))} images, not {PER_CLASS}",
                        where=str(images),
                        hint="train.csv, val.csv and test.csv beside it say which they are"
                        if len(found.get(name, ())) > PER_CLASS
                        else self.how_to_get,
                    )
            members = [member for _, name in classes for member in found[name]]
            return photographs(archive, members, self.config.size)

    def _from_pickles(self, paths: list[Path], classes: list[tuple[str, str]]) -> np.ndarray:
        size, parts = self.config.size, []
        for split, path in zip(SPLITS, paths, strict=True):
            images, rows = read_cache(path, split)
            chosen = [row for wanted, name in classes if wanted == split for row in rows[name]]
            parts.append(
                stacked([partial(_shrunk, images[row], size) for row in chosen], (3, size, size))
            )
        return np.concatenate(parts)


def read_cache(path: Path, split: str) -> tuple[np.ndarray, dict[str, list[int]]]:
    """One of the pickles: its images, uint8 (N, 84, 84, 3), and the rows of each class; without executing anything in it.

    Raises:
        DataError: it is damaged, is not such a file, is refused, or has other classes than its split.
    """
    content = read_pickled(path, str(path))
    try:
        images, rows = (
            content["image_data"],
            {name: [int(row) for row in found] for name, found in content["class_dict"].items()},
        )
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(
                f"image_data is {images.dtype} {images.shape}, not uint8 (N, {SIDE}, {SIDE}, 3)"
            )
        if sorted(row for found in rows.values() for row in found) != list(range(len(images))):
            raise ValueError("class_dict does not name every image once")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"no miniImageNet cache: {error}",
            where=str(path),
            hint="it should be a dict with image_data and class_dict",
        ) from error
    wanted = {name for found, *names in listed(*SPLIT) if found == split for name in names}
    if wrong := {*rows} ^ wanted:
        raise DataError(
            f"its classes are not those of {split}: {', '.join(sorted(map(str, wrong))[:3])} ...",
            where=str(path),
            hint="the three files may have been mixed up",
        )
    if short := [name for name, found in rows.items() if len(found) != PER_CLASS]:
        raise DataError(
            f"class {short[0]} has {len(rows[short[0]])} images, not {PER_CLASS}",
            where=str(path),
            hint="get it whole",
        )
    return images, rows


def _shrunk(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (84, 84, 3) to (3, size, size)."""
    from PIL import Image

    return np.asarray(squashed(Image.fromarray(pixels), size)).transpose(2, 0, 1)


def _by_class(archive: Archive, csvs: list[Path]) -> dict[str, list[str]]:
    """Class -> members in order of their names: by the CSVs, or by the WordNet id in each image's path."""
    found: dict[str, list[str]] = {}
    members = sorted(
        (member for member in archive.sizes if IMAGE.fullmatch(member)),
        key=lambda member: Path(member).name,
    )
    if not csvs:
        for member in members:
            if wnids := WNID.findall(member):
                found.setdefault(wnids[-1], []).append(member)
        return found
    by_name = {Path(member).name: member for member in members}
    for path in csvs:
        for row in sorted(read_rows(path), key=lambda row: row.filename):
            if row.filename not in by_name:
                raise archive.fault(
                    f"{row.filename} is missing, which {path.name}:{row.line} lists",
                    MiniImageNet.how_to_get,
                )
            found.setdefault(row.label, []).append(by_name[row.filename])
    return found
