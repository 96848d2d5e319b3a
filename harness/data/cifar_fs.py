"""CIFAR-FS, few-shot CIFAR-100: 100 classes of small colour photographs, from the data root."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import listed, split_file
from harness.errors import DataError
from harness.registry import Config, datasets

SPLIT, SPLIT_SHA256 = "cifar_fs.txt", "83fc8809b4a4c72ec88f69c92c4e4d07d725b32e84e1118fa40cc030a85bc1a1"
SIDE, COMPLETE = 32, 600
MEMBER = re.compile(r"(?:.*/)?([a-z_]+)/([^/]+)\.(?:png|webp)")


@datasets.register("cifar-fs")
class CifarFs(Dataset):
    """Photographs: CIFAR-100 for few-shot learning, 64 / 16 / 20 classes, 32 x 32, colour."""

    class Config(Config):
        """How much of the training classes there is."""

        train_images: int = Field(COMPLETE, ge=1, le=COMPLETE, description="images a training class; CIFAR-FS has 600, a "
                                  "reduced copy fewer (the first by name are taken)")

    origin = "data root"
    licence = "none stated; free for research with citation"
    citation = "Krizhevsky 2009 (CIFAR-100); Bertinetto, Henriques, Torr, Vedaldi, ICLR 2019 (the split)"
    how_to_get = ("get zips of CIFAR-100 with members <class>/<name>.png (or .webp), for instance the cifar100.zip that "
                  "Bertinetto et al. share, and run `harness data import cifar-fs FOLDER`")
    pinned = {'{"train_images": 150}': "876ed3310b8a092468b461f617740188d0aa7a0de2d862bf00df2b5ac6d12f11"}

    def facts(self) -> Facts:
        """Shape and split."""
        sizes = {"train": (64, self.config.train_images), "val": (16, COMPLETE), "test": (20, COMPLETE)}
        return Facts((3, SIDE, SIDE), {"classes": {split: SplitFacts(n, each, n * each) for split, (n, each) in sizes.items()}},
                     frozenset({"classes"}))

    def sources(self) -> list[Path]:
        """All zips of the folder, and the list of the split."""
        folder = self.root / self.kind if self.root else None
        if folder is None:
            raise DataError(f"{self.kind} is not embedded, and no data root is set",
                            hint=f"set HARNESS_DATA (or --data-root) to the folder that holds {self.kind}/. {self.how_to_get}")
        zips = sorted(folder.glob("*.zip"))
        if not zips:
            raise DataError("there is no zip of photographs", where=str(folder), hint=self.how_to_get)
        return [*zips, split_file(SPLIT)]

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, bytes]]:
        """Every zip at or below ``path`` that has photographs of its classes."""
        classes = {name for _, _, *names in listed(SPLIT, SPLIT_SHA256) for name in names}
        for archive in [path] if path.is_file() else sorted(path.rglob("*.zip")):
            if any(name in classes for name, _, _ in _members(archive)):
                yield archive.name, archive.read_bytes()

    def build(self) -> Loaded:
        """Decode every photograph of the 100 classes, class by class in the order of the split, by name within a class."""
        *zips, _ = self.sources()
        found: dict[str, dict[str, tuple[Path, str]]] = {}
        for path in zips:
            for name, stem, member in _members(path):
                found.setdefault(name, {}).setdefault(stem, (path, member))
        pixels, names, groups, splits = [], [], [], []
        for split, group, *classes in listed(SPLIT, SPLIT_SHA256):
            for name in classes:
                pixels.append(self._photographs(name, found.get(name, {}), split))
                names.append(name)
                groups.append(group)
                splits.append(split)
        labels = np.repeat(np.arange(len(names)), [len(p) for p in pixels])
        of_image = np.array(splits)[labels]
        return Loaded(np.concatenate(pixels), labels, tuple(names), tuple(groups),
                      {"classes": {split: np.flatnonzero(of_image == split) for split in ("train", "val", "test")}})

    def _photographs(self, name: str, found: dict[str, tuple[Path, str]], split: str) -> np.ndarray:
        """uint8 (N, 3, 32, 32) of one class."""
        wanted = self.config.train_images if split == "train" else COMPLETE
        if len(found) < wanted:
            raise DataError(f"class {name!r} of {split} has {len(found)} images, not {wanted}", where=str(self.root / self.kind),
                            hint=f"set train_images: {len(found)}" if split == "train" and found else self.how_to_get)
        chosen = [found[stem] for stem in sorted(found)[:wanted]]
        archives = {path: zipfile.ZipFile(path) for path in {path for path, _ in chosen}}
        try:
            return np.stack([_decode(archives[path], member) for path, member in chosen])
        finally:
            for archive in archives.values():
                archive.close()


def _members(path: Path) -> list[tuple[str, str, str]]:
    """(class, name, member) of each photograph in a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [(match[1], match[2], name) for name in archive.namelist() if (match := MEMBER.fullmatch(name))]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), hint="fetch it again") from error


def _decode(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """One photograph, uint8 (3, 32, 32)."""
    from PIL import Image

    try:
        if archive.getinfo(member).file_size > 1 << 16:
            raise ValueError("too large for 32 x 32 pixels")
        with Image.open(io.BytesIO(archive.read(member))) as image:
            if image.size != (SIDE, SIDE):
                raise ValueError(f"{image.size[0]} x {image.size[1]} pixels, not {SIDE} x {SIDE}")
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except Exception as error:  # Pillow and zlib raise many kinds on damaged bytes
        raise DataError(f"{member}: {error}", where=str(archive.filename), hint="fetch it again") from error
