"""CIFAR-100 by class, for few-shot learning: what CIFAR-FS and FC100 share. The files lie in the data root's ``cifar-fs``."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.data.archive import Archive, files_below
from harness.data.base import Dataset, Facts, Loaded, Remote, SplitFacts
from harness.data.carve import listed, split_file
from harness.data.photographs import exactly, photograph, stacked
from harness.data.pickles import read_pickled
from harness.errors import DataError

SIDE, COMPLETE = 32, 600
MEMBER = re.compile(r"(?:.*/)?([a-z_]+)/([^/]+)\.(?:png|webp)")
OFFICIAL = "cifar-100-python.tar.gz"
LARGEST = 160_000_000
"""Bytes of the larger of the two pickles of the official archive, and some more."""

Images = dict[str, dict[str, Callable[[], np.ndarray]]]
"""class -> name -> how to read that image, uint8 (3, 32, 32)."""


class Cifar100(Dataset):
    """100 classes in a split of its own. A subclass names the file that lists it: ``split superclass class class ...``."""

    origin = "data root"
    folder_name = "cifar-fs"
    licence = "none stated; free for research with citation"
    how_to_get = (
        f"run `harness data get cifar-fs`; or get {OFFICIAL} from cs.toronto.edu/~kriz/cifar.html, or zips with "
        "members <class>/<name>.png (or .webp), for instance the cifar100.zip that Bertinetto et al. share, and run "
        "`harness data import cifar-fs FOLDER`"
    )
    # The author's own archive (cs.toronto.edu/~kriz/cifar.html gives its MD5, eb9058c3a382ffc7106e4002c42a8d85); the sha256 is
    # the one in Keras (keras/datasets/cifar100.py).
    remotes = (
        Remote(
            f"https://www.cs.toronto.edu/~kriz/{OFFICIAL}",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169_001_437,
        ),
    )
    split_list: ClassVar[tuple[str, str]]
    """Name and sha256 of the list of the split."""

    @abstractmethod
    def images_of(self, split: str) -> int:
        """Images that each class of a split has."""

    @property
    def classes(self) -> list[tuple[str, str, str]]:
        """(split, superclass, class) of all, in order."""
        return [
            (split, group, name)
            for split, group, *names in listed(*self.split_list)
            for name in names
        ]

    def facts(self) -> Facts:
        """Shape and split."""
        splits = [split for split, _, _ in self.classes]
        sizes = {
            split: (splits.count(split), self.images_of(split))
            for split in ("train", "val", "test")
        }
        return Facts(
            (3, SIDE, SIDE),
            {
                "classes": {
                    split: SplitFacts(n, each, n * each) for split, (n, each) in sizes.items()
                }
            },
            frozenset({"classes"}),
        )

    def sources(self) -> list[Path]:
        """The official archive if it is there, else all zips of the folder; and the list of the split."""
        official = self.place / OFFICIAL
        found = [official] if official.is_file() else sorted(self.place.glob("*.zip"))
        if not found:
            raise DataError(
                "there is no zip of photographs", where=str(self.place), hint=self.how_to_get
            )
        return [*found, split_file(self.split_list[0])]

    def build(self) -> Loaded:
        """Every photograph that is wanted, class by class in the order of the split, by name within a class."""
        *paths, _ = self.sources()
        readers, labels = [], []
        with ExitStack() as stack:
            found = by_class([stack.enter_context(Archive(path)) for path in paths])
            for label, (split, _, name) in enumerate(self.classes):
                chosen = self._chosen(name, found.get(name, {}), split)
                readers += chosen
                labels += [label] * len(chosen)
            pixels = stacked(readers, (3, SIDE, SIDE))
        of_image = np.array([split for split, _, _ in self.classes])[labels]
        return Loaded(
            pixels,
            np.array(labels, np.int64),
            tuple(name for _, _, name in self.classes),
            tuple(group for _, group, _ in self.classes),
            {
                "classes": {
                    split: np.flatnonzero(of_image == split) for split in ("train", "val", "test")
                }
            },
        )

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """The official archive, and every zip at or below ``path`` that has photographs of its classes."""
        return _candidates(
            path, {name for _, _, *names in listed(*cls.split_list) for name in names}
        )

    def _chosen(
        self, name: str, found: dict[str, Callable[[], np.ndarray]], split: str
    ) -> list[Callable[[], np.ndarray]]:
        wanted = self.images_of(split)
        if len(found) < wanted:
            (switch,) = type(self.config).model_fields
            raise DataError(
                f"class {name!r} of {split} has {len(found)} images, not {wanted}",
                where=str(self.place),
                hint=f"set {switch}: {len(found)}"
                if found and wanted == getattr(self.config, switch)
                else self.how_to_get,
            )
        return [found[stem] for stem in sorted(found)[:wanted]]


def by_class(archives: list[Archive]) -> Images:
    """The images in the official archive, or in zips of image files."""
    found: Images = {}
    for archive in archives:
        if archive.path.name == OFFICIAL:
            return _official(archive)
        for member in archive.sizes:
            if match := MEMBER.fullmatch(member):
                reader = partial(photograph, archive, member, SIDE, 3, exactly)
                found.setdefault(match[1], {}).setdefault(match[2], reader)
    return found


def _official(archive: Archive) -> Images:
    """From the author's archive: two pickles of 50,000 and 10,000 images with the names of their files, one of class names."""

    def read(part: str) -> dict:
        member = f"cifar-100-python/{part}"
        if member not in archive.sizes:
            raise archive.fault(f"it has no {member}", "fetch it again")
        return read_pickled(archive.read(member, LARGEST), f"{archive.path}: {member}")

    found: Images = {}
    try:
        classes = read("meta")["fine_label_names"]
        for part in ("train", "test"):
            batch = read(part)
            pixels = batch["data"].reshape(-1, 3, SIDE, SIDE)
            for row, label, name in zip(
                pixels, batch["fine_labels"], batch["filenames"], strict=True
            ):
                found.setdefault(classes[label], {})[f"{part}_{Path(name).stem}"] = partial(
                    np.asarray, row
                )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise archive.fault(
            f"its pickles do not hold CIFAR-100: {error!r}", "fetch it again"
        ) from error
    return found


def _candidates(path: Path, classes: set[str]) -> Iterator[tuple[str, Path]]:
    for candidate in [path] if path.is_file() else files_below(path).values():
        if candidate.name == OFFICIAL:
            with Archive(candidate) as archive:
                _official(archive)
            yield OFFICIAL, candidate
        elif candidate.suffix == ".zip":
            with Archive(candidate) as archive:
                names = {
                    match[1] for member in archive.sizes if (match := MEMBER.fullmatch(member))
                }
            if names & classes:
                yield candidate.name, candidate
