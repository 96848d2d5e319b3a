"""Omniglot, the real one, from the two zips of its authors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.data.archive import Archive, files_below, packed
from harness.data.base import Dataset, Facts, Loaded, Remote, SplitFacts
from harness.data.carve import listed, split_file
from harness.data.mnist import find_files
from harness.data.photographs import exactly, photograph, stacked
from harness.errors import DataError
from harness.registry import Config, datasets

VINYALS = "omniglot_vinyals.txt"
VINYALS_SHA256 = "a3e400e39958fdd0cae03fdc107ba10e14bdc2bc8d6f4cc96d5dae3dae145b4c"
SIDE, SMALL, DRAWERS = 105, 28, 20
MOST = 964 * DRAWERS
"""Drawings of the larger part."""
MEMBER = re.compile(
    r"(images_background|images_evaluation)/(\w[^/]*)/character(\d\d)/\d{4}_(\d\d)\.png"
)
INK_SHA256 = {
    "images_background": "6699ae4df8ffac22aee7951d7cba6e421d3c2f9276990b84beacf5bef54348ea",
    "images_evaluation": "afb28aaea14406a6cf3c19d26de4ed60d69ccb7f5e6373afffc637b4784c039c",
}
"""sha256 of the packed bits (1 = ink) of all images in the order alphabet, character, drawer."""


@datasets.register("omniglot")
class Omniglot(Dataset):
    """Handwritten characters: Omniglot, 1,623 characters of 50 alphabets, 20 drawers each, 28 x 28."""

    class Config(Config):
        """Switches."""

        rotations: bool = Field(
            False,
            description="rotations by 90, 180 and 270 degrees as new classes: four times as many",
        )

    origin = "data root"
    licence = "MIT"
    citation = (
        "Lake, Salakhutdinov, Tenenbaum, Human-level concept learning through probabilistic program induction, "
        "Science 350, 2015; split: Vinyals et al., NeurIPS 2016"
    )
    how_to_get = (
        "run `harness data get omniglot`; or get "
        "images_background.zip and images_evaluation.zip from the repository brendenlake/omniglot (folder python) "
        "and run `harness data import omniglot FOLDER`"
    )
    # The author's repository; sums and sizes as in TensorFlow Datasets (url_checksums/omniglot.txt).
    remotes = (
        Remote(
            "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            9_464_212,
        ),
        Remote(
            "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_evaluation.zip",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            6_462_886,
        ),
    )
    pinned = {
        '{"rotations": false}': "fc94fb039a759bccc640f150d7f9a36babd1836d3ad87f625cfa38213a97b953",
        '{"rotations": true}': "ed3035356eaf9cb144cbee3a4ceb2e6ad92f186c8af5a3b32e1c195cbbc0d9ea",
    }

    @property
    def _turns(self) -> int:
        return 4 if self.config.rotations else 1

    def facts(self) -> Facts:
        """Shape and splits."""
        splittings = {
            "vinyals": {"train": 1028, "val": 172, "test": 423},
            "lake": {"train": 964, "test": 659},
        }
        return Facts(
            image_shape=(1, SMALL, SMALL),
            splittings={
                splitting: {
                    split: SplitFacts(n * self._turns, DRAWERS, n * self._turns * DRAWERS)
                    for split, n in splits.items()
                }
                for splitting, splits in splittings.items()
            },
            class_disjoint=frozenset(splittings),
        )

    def sources(self) -> list[Path]:
        """The two zips, and the list of the split."""
        names = tuple(f"{part}.zip" for part in INK_SHA256)
        return [*find_files(self.root, self.kind, names, self.how_to_get), split_file(VINYALS)]

    def build(self) -> Loaded:
        """Read all drawings, shrink them, number the characters by alphabet and number.

        Ink is 255 on 0. 105 x 105 becomes 28 x 28 by Pillow's antialiased Lanczos filter; rotations (counter-clockwise)
        are made of the small images, and are a class and an alphabet of their own, in the split of their character.
        """
        parts = [read_part(path) for path in self.sources()[:2]]
        characters = [(name, part.name) for part in parts for name in part.characters]
        order = sorted(range(len(characters)), key=characters.__getitem__)
        small = np.concatenate([shrink(part.ink) for part in parts]).reshape(
            -1, DRAWERS, 1, SMALL, SMALL
        )[order]
        names, homes = zip(*(characters[i] for i in order), strict=True)
        turned = [np.rot90(small, turn, axes=(3, 4)) for turn in range(self._turns)]
        suffixes = ("", "/rot090", "/rot180", "/rot270")[: self._turns]
        labels = np.repeat(np.arange(len(names) * self._turns), DRAWERS)
        vinyals = vinyals_split()
        return Loaded(
            pixels=np.concatenate(turned).reshape(-1, 1, SMALL, SMALL),
            labels=labels,
            class_names=tuple(
                f"{alphabet}/character{number:02d}{turn}"
                for turn in suffixes
                for alphabet, number in names
            ),
            groups=tuple(f"{alphabet}{turn}" for turn in suffixes for alphabet, _ in names),
            splittings={
                "vinyals": self._rows([vinyals[name] for name in names], ("train", "val", "test")),
                "lake": self._rows(
                    ["train" if home == "images_background" else "test" for home in homes],
                    ("train", "test"),
                ),
            },
        )

    def _rows(
        self, split_of_character: list[str], splits: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        of_image = np.repeat(np.tile(split_of_character, self._turns), DRAWERS)
        return {split: np.flatnonzero(of_image == split) for split in splits}

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Each part, checked: a zip, or a folder of extracted images, made into the zip that it came from."""
        files = [path] if path.is_file() else list(files_below(path).values())
        for part in INK_SHA256:
            archive = next((file for file in files if file.name == f"{part}.zip"), None)
            folder = next(
                (above for file in files for above in file.parents if above.name == part), None
            )
            if archive:
                read_part(archive)
                yield archive.name, archive
            elif folder:
                with (
                    Archive(folder) as drawings,
                    packed(
                        drawings,
                        {
                            f"{part}/{name}": name
                            for name in drawings.sizes
                            if MEMBER.fullmatch(f"{part}/{name}")
                        },
                    ) as zipped,
                ):
                    read_part(zipped)
                    yield f"{part}.zip", zipped


@dataclass(frozen=True)
class Part:
    """One zip: its name, its characters (alphabet, number) in order, and ink, bool (characters * 20, 105, 105)."""

    name: str
    characters: list[tuple[str, int]]
    ink: np.ndarray


def vinyals_split() -> dict[tuple[str, int], str]:
    """(alphabet, number) -> train, val or test."""
    split_of = {}
    for split, alphabet, *ranges in listed(VINYALS, VINYALS_SHA256):
        for first, _, last in (span.partition("-") for span in ranges):
            split_of |= {
                (alphabet, number): split for number in range(int(first), int(last or first) + 1)
            }
    return split_of


def read_part(path: Path) -> Part:
    """The drawings in a zip.

    Raises:
        DataError: it is damaged, or its drawings are not Omniglot's.
    """
    with Archive(path) as archive:
        members = sorted(
            (match.groups(), name) for name in archive.sizes if (match := MEMBER.fullmatch(name))
        )
        if len(members) > MOST:
            raise archive.fault(
                f"it has {len(members)} drawings, more than an Omniglot part", Omniglot.how_to_get
            )
        ink = stacked([partial(_ink, archive, name) for _, name in members], (SIDE, SIDE)).view(
            bool
        )
    parts = sorted({groups[0] for groups, _ in members})
    digest = hashlib.sha256(np.packbits(ink).data).hexdigest()
    if len(parts) != 1 or digest != INK_SHA256[parts[0]]:
        raise DataError(
            f"its {len(members)} drawings are not those of an Omniglot part (sha256 {digest[:16]}...)",
            where=str(path),
            hint=f"fetch it again. {Omniglot.how_to_get}",
        )
    return Part(
        parts[0],
        [(alphabet, int(number)) for (_, alphabet, number, _), _ in members[::DRAWERS]],
        ink,
    )


def _ink(archive: Archive, name: str) -> np.ndarray:
    """One drawing, uint8 (105, 105): 1 where there is ink."""
    return (photograph(archive, name, SIDE, 1, exactly)[0] < 128).view(np.uint8)


def shrink(ink: np.ndarray) -> np.ndarray:
    """Drawings bool (N, 105, 105) to uint8 (N, 28, 28), ink 255 on 0."""
    from PIL import Image

    small = np.empty((len(ink), SMALL, SMALL), np.uint8)
    for drawing, out in zip(ink, small, strict=True):
        paper = Image.fromarray(np.where(drawing, np.uint8(0), np.uint8(255)))
        out[:] = 255 - np.asarray(paper.resize((SMALL, SMALL), Image.Resampling.LANCZOS))
    return small
