"""CIFAR-100 by class, for few-shot learning: the part that CIFAR-FS and FC100 share.

Both read the files in the folder ``cifar-fs`` of the data root.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from harness.data.archive import Archive, files_below
from harness.data.base import Dataset, Facts, Loaded, Remote, SplitFacts
from harness.data.carve import SPLITS, count_classes, even_facts, rows_of_splits
from harness.data.photographs import exactly, photograph, stacked
from harness.data.pickles import read_pickled
from harness.data.shipped import read_split_list, split_file
from harness.errors import DataError

SIDE = 32
COMPLETE = 600
"""Images of a class in CIFAR-100."""
MEMBER = re.compile(r"(?:.*/)?([a-z_]+)/([^/]+)\.(?:png|webp)")
OFFICIAL = "cifar-100-python.tar.gz"
LARGEST = 160_000_000
"""Most bytes of a pickle in the official archive; its larger one is a little smaller."""

ImageReader = Callable[[], np.ndarray]
"""Reads one image, uint8 (3, 32, 32)."""
ImagesByClass = dict[str, dict[str, ImageReader]]
"""The reader of each image, by class and name."""


class ListedClass(NamedTuple):
    """A class in the list of a split."""

    split: str
    superclass: str
    name: str


class Cifar100(Dataset):
    """100 classes in a split of their own.

    A subclass names the list of the split; its lines are ``split superclass class class ...``.
    """

    origin = "data root"
    folder_name = "cifar-fs"
    licence = "none stated; free for research with citation"
    how_to_get = (
        f"run `harness data get cifar-fs`; or get {OFFICIAL} from cs.toronto.edu/~kriz/cifar.html, "
        "or zips with members <class>/<name>.png (or .webp), for instance the cifar100.zip that "
        "Bertinetto et al. share, and run `harness data import cifar-fs FOLDER`"
    )
    # The author's own archive. His page gives its MD5, eb9058c3a382ffc7106e4002c42a8d85; the sha256
    # is the one that Keras records (keras/datasets/cifar100.py).
    remotes = (
        Remote(
            f"https://www.cs.toronto.edu/~kriz/{OFFICIAL}",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169_001_437,
        ),
    )
    split_list: ClassVar[tuple[str, str]]
    """Name and sha256 of the list of the split."""
    images_switch: ClassVar[str]
    """The field of the config that says how many images a training class has."""

    @abstractmethod
    def images_of(self, split: str) -> int:
        """Return the number of images that each class of a split has."""

    @classmethod
    def listed_classes(cls) -> list[ListedClass]:
        """Return all classes in the order of the list."""
        classes = []
        for split, superclass, *names in read_split_list(*cls.split_list):
            classes += [ListedClass(split, superclass, name) for name in names]
        return classes

    def facts(self) -> Facts:
        """Return shape and split."""
        counts = count_classes([listed.split for listed in self.listed_classes()])
        splits: dict[str, SplitFacts] = {}
        for split, count in counts.items():
            splits |= even_facts({split: count}, self.images_of(split))
        return Facts((3, SIDE, SIDE), {"classes": splits}, frozenset({"classes"}))

    def sources(self) -> list[Path]:
        """Find the official archive, else all zips of the folder; and the list of the split."""
        official = self.place / OFFICIAL
        archives = [official] if official.is_file() else sorted(self.place.glob("*.zip"))
        if not archives:
            raise DataError(
                "there is no zip of photographs", where=str(self.place), hint=self.how_to_get
            )
        return [*archives, split_file(self.split_list[0])]

    def build(self) -> Loaded:
        """Read every listed photograph: classes in the order of the list, images by name."""
        *paths, _ = self.sources()
        classes = self.listed_classes()
        readers: list[ImageReader] = []
        labels: list[int] = []
        with ExitStack() as stack:
            archives = [stack.enter_context(Archive(path)) for path in paths]
            images = images_by_class(archives)
            for label, listed in enumerate(classes):
                chosen = self._choose(listed, images.get(listed.name, {}))
                readers += chosen
                labels += [label] * len(chosen)
            pixels = stacked(readers, (3, SIDE, SIDE))
        splits = np.array([listed.split for listed in classes])
        return Loaded(
            pixels=pixels,
            labels=np.array(labels, np.int64),
            class_names=tuple(listed.name for listed in classes),
            groups=tuple(listed.superclass for listed in classes),
            splittings={"classes": rows_of_splits(splits[labels], SPLITS)},
        )

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Find the official archive, and every zip that has photographs of the classes."""
        wanted = {listed.name for listed in cls.listed_classes()}
        candidates = [path] if path.is_file() else list(files_below(path).values())
        for candidate in candidates:
            if candidate.name == OFFICIAL:
                with Archive(candidate) as archive:
                    _read_official(archive)
                yield OFFICIAL, candidate
            elif candidate.suffix == ".zip":
                with Archive(candidate) as archive:
                    matches = map(MEMBER.fullmatch, archive.sizes)
                    names = {match[1] for match in matches if match}
                if names & wanted:
                    yield candidate.name, candidate

    def variants(self) -> Iterator[Dataset.Config]:
        """Yield the default, then the config of a copy with fewer images of each class."""
        yield type(self).Config()
        *paths, _ = self.sources()
        with ExitStack() as stack:
            images = images_by_class([stack.enter_context(Archive(path)) for path in paths])
        counts = [len(images.get(listed.name, {})) for listed in self.listed_classes()]
        if min(counts) > 0:
            yield type(self).Config.model_validate({self.images_switch: min(counts)})

    def _choose(self, listed: ListedClass, images: dict[str, ImageReader]) -> list[ImageReader]:
        """Choose the first images by name, as many as a class of the split has."""
        wanted = self.images_of(listed.split)
        if len(images) < wanted:
            hint = self.how_to_get
            # A reduced copy is usable if the config says so.
            if images and wanted == getattr(self.config, self.images_switch):
                hint = f"set {self.images_switch}: {len(images)}"
            raise DataError(
                f"class {listed.name!r} of {listed.split} has {len(images)} images, not {wanted}",
                where=str(self.place),
                hint=hint,
            )
        return [images[name] for name in sorted(images)[:wanted]]


def images_by_class(archives: list[Archive]) -> ImagesByClass:
    """List the images of the official archive, or else of zips of image files.

    If several zips have an image of the same class and name, the first one is used.
    """
    images: ImagesByClass = {}
    for archive in archives:
        if archive.path.name == OFFICIAL:
            return _read_official(archive)
        for member in archive.sizes:
            match = MEMBER.fullmatch(member)
            if match:
                reader = partial(photograph, archive, member, SIDE, 3, exactly)
                images.setdefault(match[1], {}).setdefault(match[2], reader)
    return images


def _read_official(archive: Archive) -> ImagesByClass:
    """Read the author's archive: a pickle of class names, and two of 50,000 and 10,000 images."""
    images: ImagesByClass = {}
    try:
        class_names = _read_part(archive, "meta")["fine_label_names"]
        for part in ("train", "test"):
            batch = _read_part(archive, part)
            pixels = batch["data"].reshape(-1, 3, SIDE, SIDE)
            rows = zip(pixels, batch["fine_labels"], batch["filenames"], strict=True)
            for image, label, filename in rows:
                of_class = images.setdefault(class_names[label], {})
                of_class[f"{part}_{Path(filename).stem}"] = partial(np.asarray, image)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise archive.fault(
            f"its pickles do not hold CIFAR-100: {error!r}", "fetch it again"
        ) from error
    return images


def _read_part(archive: Archive, part: str) -> dict[str, Any]:
    member = f"cifar-100-python/{part}"
    if member not in archive.sizes:
        raise archive.fault(f"it has no {member}", "fetch it again")
    content: dict[str, Any] = read_pickled(
        archive.read(member, LARGEST), f"{archive.path}: {member}"
    )
    return content
