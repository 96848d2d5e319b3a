"""Tiny ImageNet by class: the part that ``mini-imagenet-25`` and ``tiered-subset`` share.

Both read ImageNet photographs of 64 x 64 pixels in the folder ``tiny-imagenet`` of the data root.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from harness.data.archive import Archive, files_below
from harness.data.base import Dataset, Facts, Loaded, Remote
from harness.data.carve import SPLITS, count_classes, even_facts, rows_of_splits
from harness.data.photographs import photographs
from harness.data.shipped import split_file
from harness.errors import DataError

SIDE = 64
MEMBER = re.compile(r"(?:.*/)?(n\d{8})/(?:images/)?([^/]+)\.JPEG")
VALIDATION = "tiny-imagenet-200/val/"
"""The folder of the official zip with the validation images of all classes and their list."""

Members = dict[str, dict[str, str]]
"""Member of an archive, by class (WordNet id) and name of the image."""


class ListedClass(NamedTuple):
    """A class in the list of a split.

    Attributes:
        split: train, val or test.
        group: its category, or "".
        wnid: its WordNet id.
        name: its name in words.
        images: names of its images; None for all.
    """

    split: str
    group: str
    wnid: str
    name: str
    images: list[str] | None


class TinyImageNet(Dataset):
    """Some classes of Tiny ImageNet. A subclass lists them."""

    class Config(Dataset.Config):
        """The size of the photographs."""

        size: int = Field(
            SIDE,
            ge=8,
            le=SIDE,
            description="side of the images in pixels; below 64 they are resized (antialiased)",
        )

    config: Config
    origin = "data root"
    folder_name = "tiny-imagenet"
    licence = "ImageNet terms of access: non-commercial research and education"
    how_to_get = (
        "run `harness data get mini-imagenet-25` for tiny-imagenet-200.zip (248 MB), or get it "
        "from cs231n.stanford.edu and run `harness data import mini-imagenet-25 FILE`"
    )
    # The address is that of Stanford's CS231n; several independent projects record the sha256.
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
    """Images of each class."""

    @classmethod
    @abstractmethod
    def listed_classes(cls) -> Iterator[ListedClass]:
        """Yield all classes, split by split."""

    def facts(self) -> Facts:
        """Return shape and split."""
        counts = count_classes([listed.split for listed in self.listed_classes()])
        return Facts(
            (3, self.config.size, self.config.size),
            {"classes": even_facts(counts, self.per_class)},
            frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """Find all zips of the folder, and the list of classes."""
        zips = sorted(self.place.glob("*.zip"))
        if not zips:
            raise DataError(
                "there is no zip of photographs", where=str(self.place), hint=self.how_to_get
            )
        return [*zips, split_file(self.split_list[0])]

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Find every zip at or below ``path`` that has photographs of the classes."""
        wanted = {listed.wnid for listed in cls.listed_classes()}
        candidates = [path] if path.is_file() else list(files_below(path).values())
        for candidate in candidates:
            if candidate.suffix == ".zip":
                with Archive(candidate) as archive:
                    is_wanted = not wanted.isdisjoint(members_by_class(archive))
                if is_wanted:
                    yield candidate.name, candidate

    def build(self) -> Loaded:
        """Read every listed photograph: classes in the order of the list, images by name."""
        *paths, _ = self.sources()
        classes = list(self.listed_classes())
        parts = []
        with ExitStack() as stack:
            archives = [stack.enter_context(Archive(path)) for path in paths]
            members = [members_by_class(archive) for archive in archives]
            for listed in classes:
                archive, chosen = self._choose(archives, members, listed)
                parts.append(photographs(archive, chosen, self.config.size))
        labels = np.repeat(np.arange(len(classes)), [len(part) for part in parts])
        splits = np.array([listed.split for listed in classes])
        groups = tuple(listed.group for listed in classes)
        return Loaded(
            pixels=np.concatenate(parts),
            labels=labels.astype(np.int64),
            class_names=tuple(f"{listed.wnid} {listed.name}" for listed in classes),
            groups=groups if any(groups) else None,
            splittings={"classes": rows_of_splits(splits[labels], SPLITS)},
        )

    def _choose(
        self, archives: list[Archive], members: list[Members], listed: ListedClass
    ) -> tuple[Archive, list[str]]:
        """Choose the first archive that has all images of a class, and its members with them."""
        most = 0
        for archive, by_class in zip(archives, members, strict=True):
            by_name = by_class.get(listed.wnid, {})
            wanted = sorted(by_name) if listed.images is None else listed.images
            present = [by_name[name] for name in wanted if name in by_name]
            if len(present) == self.per_class:
                return archive, present
            most = max(most, len(present))
        raise DataError(
            f"class {listed.wnid} has {most} of its {self.per_class} listed images",
            where=str(self.place),
            hint=self.how_to_get,
        )


def members_by_class(archive: Archive) -> Members:
    """List the images of a zip with members ``<class>/<name>.JPEG``, or of the official one."""
    members: Members = {}
    for member in archive.sizes:
        match = MEMBER.fullmatch(member)
        if match:
            members.setdefault(match[1], {})[match[2]] = member
    annotations = f"{VALIDATION}val_annotations.txt"
    if annotations in archive.sizes:
        text = archive.read(annotations).decode("ascii", "replace")
        for line in text.splitlines():
            file, wnid, *_ = line.split("\t")
            member = f"{VALIDATION}images/{file}"
            if member in archive.sizes:
                members.setdefault(wnid, {})[file.removesuffix(".JPEG")] = member
    return members
