"""Real ImageNet photographs of 64 x 64 pixels, from Tiny ImageNet: what ``mini-imagenet-25`` and ``tiered-subset`` share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.data.archive import Archive, files_below
from harness.data.base import Dataset, Facts, Loaded, Remote, SplitFacts
from harness.data.carve import split_file
from harness.data.photographs import photographs
from harness.errors import DataError
from harness.registry import Config

SIDE = 64
MEMBER = re.compile(r"(?:.*/)?(n\d{8})/(?:images/)?([^/]+)\.JPEG")
VALIDATION = "tiny-imagenet-200/val/"
"""Where the official zip has the validation images, all classes together, and the list of their classes."""


class Sized(Config):
    """How large the photographs are."""

    size: int = Field(
        SIDE,
        ge=8,
        le=SIDE,
        description="side of the images in pixels; smaller than 64 by antialiased resizing",
    )


class TinyImageNet(Dataset):
    """Some classes of Tiny ImageNet. A subclass names the file that lists them."""

    Config = Sized
    origin = "data root"
    folder_name = "tiny-imagenet"
    licence = "ImageNet terms of access: non-commercial research and education"
    how_to_get = (
        "run `harness data get mini-imagenet-25` for tiny-imagenet-200.zip (248 MB), or get it from "
        "cs231n.stanford.edu and run `harness data import mini-imagenet-25 FILE`"
    )
    # The address is the one of Stanford's CS231n; the sha256 is what several independent projects record for this file.
    remotes = (
        Remote(
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            248_100_043,
        ),
    )
    split_list: ClassVar[tuple[str, str]]
    """Name and sha256 of the list of classes."""
    per_class: ClassVar[int]

    @classmethod
    @abstractmethod
    def classes(cls) -> Iterator[tuple[str, str, str, str, list[str] | None]]:
        """(split, group, WordNet id, name, names of its images; None: all that there are) of each class, split by split."""

    def facts(self) -> Facts:
        """Shape and split."""
        splits = [split for split, *_ in self.classes()]
        counts = {split: splits.count(split) for split in ("train", "val", "test")}
        return Facts(
            (3, self.config.size, self.config.size),
            {
                "classes": {
                    split: SplitFacts(n, self.per_class, n * self.per_class)
                    for split, n in counts.items()
                }
            },
            frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """All zips of the folder, and the list of classes."""
        zips = sorted(self.place.glob("*.zip"))
        if not zips:
            raise DataError(
                "there is no zip of photographs", where=str(self.place), hint=self.how_to_get
            )
        return [*zips, split_file(self.split_list[0])]

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Every zip at or below ``path`` that has photographs of its classes."""
        wanted = {wnid for _, _, wnid, _, _ in cls.classes()}
        for candidate in [path] if path.is_file() else files_below(path).values():
            if candidate.suffix == ".zip":
                with Archive(candidate) as archive:
                    if wanted & set(members(archive)):
                        yield candidate.name, candidate

    def build(self) -> Loaded:
        """Every photograph that is listed, class by class in the order of the list, by name within a class."""
        *paths, _ = self.sources()
        parts, labels, names, groups, splits = [], [], [], [], []
        archives = [Archive(path) for path in paths]
        try:
            found = [members(archive) for archive in archives]
            for split, group, wnid, name, images in self.classes():
                archive, rows = self._listed(archives, found, wnid, images)
                parts.append(photographs(archive, rows, self.config.size))
                labels += [len(names)] * len(rows)
                names.append(f"{wnid} {name}")
                groups.append(group)
                splits.append(split)
        finally:
            for archive in archives:
                archive.close()
        of_image = np.array(splits)[labels]
        return Loaded(
            np.concatenate(parts),
            np.array(labels, np.int64),
            tuple(names),
            tuple(groups) if any(groups) else None,
            {
                "classes": {
                    split: np.flatnonzero(of_image == split) for split in ("train", "val", "test")
                }
            },
        )

    def _listed(
        self,
        archives: list[Archive],
        found: list[dict[str, dict[str, str]]],
        wnid: str,
        images: list[str] | None,
    ) -> tuple[Archive, list[str]]:
        """The first archive that has all wanted images of a class, and which these are."""
        most = 0
        for archive, classes in zip(archives, found, strict=True):
            there = classes.get(wnid, {})
            wanted = sorted(there) if images is None else images
            present = [there[name] for name in wanted if name in there]
            if len(present) == self.per_class:
                return archive, present
            most = max(most, len(present))
        raise DataError(
            f"class {wnid} has {most} of the {self.per_class} images that are listed",
            where=str(self.place),
            hint=self.how_to_get,
        )


def members(archive: Archive) -> dict[str, dict[str, str]]:
    """Class -> name -> member, in a zip with members ``<class>/<name>.JPEG`` or in the official one."""
    found: dict[str, dict[str, str]] = {}
    for member in archive.sizes:
        if match := MEMBER.fullmatch(member):
            found.setdefault(match[1], {})[match[2]] = member
    if (listed := f"{VALIDATION}val_annotations.txt") in archive.sizes:
        for line in archive.read(listed).decode("ascii", "replace").splitlines():
            file, wnid, *_ = line.split("\t")
            if (member := f"{VALIDATION}images/{file}") in archive.sizes:
                found.setdefault(wnid, {})[file.removesuffix(".JPEG")] = member
    return found
