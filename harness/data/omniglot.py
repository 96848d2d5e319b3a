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
from harness.data.base import Dataset, Facts, Loaded, Remote
from harness.data.carve import even_facts, rows_of_splits
from harness.data.photographs import exactly, photograph, stacked
from harness.data.shipped import read_split_list, split_file
from harness.errors import DataError
from harness.registry import datasets

VINYALS = "omniglot_vinyals.txt"
VINYALS_SHA256 = "a3e400e39958fdd0cae03fdc107ba10e14bdc2bc8d6f4cc96d5dae3dae145b4c"
SIDE = 105
"""Side of an original drawing in pixels."""
SMALL = 28
"""Side of a drawing in the dataset."""
DRAWERS = 20
BACKGROUND = "images_background"
EVALUATION = "images_evaluation"
MOST = 964 * DRAWERS
"""Drawings of the larger part."""
MEMBER = re.compile(rf"({BACKGROUND}|{EVALUATION})/(\w[^/]*)/character(\d\d)/\d{{4}}_(\d\d)\.png")
INK_SHA256 = {
    BACKGROUND: "6699ae4df8ffac22aee7951d7cba6e421d3c2f9276990b84beacf5bef54348ea",
    EVALUATION: "afb28aaea14406a6cf3c19d26de4ed60d69ccb7f5e6373afffc637b4784c039c",
}
"""sha256 of the packed bits (1 = ink) of all images, in the order alphabet, character, drawer."""
TURNS = ("", "/rot090", "/rot180", "/rot270")
"""Suffixes of names, by quarter turns."""

Character = tuple[str, int]
"""Alphabet and number of a character."""


@datasets.register("omniglot")
class Omniglot(Dataset):
    """Handwritten characters: Omniglot, 1,623 of 50 alphabets, 20 drawers each, 28 x 28."""

    class Config(Dataset.Config):
        """Switches."""

        rotations: bool = Field(
            False,
            description=(
                "add rotations by 90, 180 and 270 degrees as new classes: four times as many"
            ),
        )

    config: Config
    origin = "data root"
    licence = "MIT"
    citation = (
        "Lake, Salakhutdinov, Tenenbaum, Human-level concept learning through probabilistic "
        "program induction, Science 350, 2015; split: Vinyals et al., NeurIPS 2016"
    )
    how_to_get = (
        "run `harness data get omniglot`; or get images_background.zip and images_evaluation.zip "
        "from the repository brendenlake/omniglot (folder python) and run "
        "`harness data import omniglot FOLDER`"
    )
    # The author's repository; hashes and sizes as in TensorFlow Datasets
    # (url_checksums/omniglot.txt).
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
    def _turns(self) -> tuple[str, ...]:
        return TURNS if self.config.rotations else TURNS[:1]

    def facts(self) -> Facts:
        """Return shape and splits."""
        characters = {
            "vinyals": {"train": 1028, "val": 172, "test": 423},
            "lake": {"train": 964, "test": 659},
        }
        splittings = {}
        for splitting, counts in characters.items():
            classes = {split: count * len(self._turns) for split, count in counts.items()}
            splittings[splitting] = even_facts(classes, DRAWERS)
        return Facts((1, SMALL, SMALL), splittings, class_disjoint=frozenset(splittings))

    def sources(self) -> list[Path]:
        """Find the two zips, and the list of the split."""
        zips = self.find_files([f"{name}.zip" for name in INK_SHA256])
        return [*zips, split_file(VINYALS)]

    def build(self) -> Loaded:
        """Read all drawings, shrink them, and number the characters by alphabet and number.

        Ink is 255 on 0. 105 x 105 becomes 28 x 28 by Pillow's antialiased Lanczos filter. Rotations
        are counter-clockwise and made from the small images. A rotated character is a class of its
        own, and a rotated alphabet a group of its own, in the split of the character.
        """
        parts = [read_part(path) for path in self.sources()[:2]]
        characters: list[Character] = []
        homes: list[str] = []
        for part in parts:
            characters += part.characters
            homes += [part.name] * len(part.characters)
        by_name = sorted(range(len(characters)), key=lambda i: (characters[i], homes[i]))
        characters = [characters[i] for i in by_name]

        drawings = np.concatenate([shrink(part.ink) for part in parts])
        small = drawings.reshape(-1, DRAWERS, 1, SMALL, SMALL)[by_name]
        turned = [np.rot90(small, turn, axes=(3, 4)) for turn in range(len(self._turns))]

        names = []
        groups = []
        for suffix in self._turns:
            names += [
                f"{alphabet}/character{number:02d}{suffix}" for alphabet, number in characters
            ]
            groups += [f"{alphabet}{suffix}" for alphabet, _ in characters]

        split_of = vinyals_split()
        vinyals = [split_of[character] for character in characters]
        lake = ["train" if homes[i] == BACKGROUND else "test" for i in by_name]
        return Loaded(
            pixels=np.concatenate(turned).reshape(-1, 1, SMALL, SMALL),
            labels=np.repeat(np.arange(len(names)), DRAWERS),
            class_names=tuple(names),
            groups=tuple(groups),
            splittings={
                "vinyals": self._rows(vinyals, ("train", "val", "test")),
                "lake": self._rows(lake, ("train", "test")),
            },
        )

    def _rows(
        self, split_of_character: list[str], splits: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        split_of_class = np.tile(split_of_character, len(self._turns))
        return rows_of_splits(np.repeat(split_of_class, DRAWERS), splits)

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Find each part and check it: its zip, or else the folder of its extracted images."""
        files = [path] if path.is_file() else list(files_below(path).values())
        folders = [folder for file in files for folder in file.parents]
        for part in INK_SHA256:
            zipped = next((file for file in files if file.name == f"{part}.zip"), None)
            folder = next((folder for folder in folders if folder.name == part), None)
            if zipped:
                read_part(zipped)
                yield zipped.name, zipped
            elif folder:
                with Archive(folder) as drawings:
                    paths = {f"{part}/{name}": name for name in drawings.sizes}
                    members = {path: name for path, name in paths.items() if MEMBER.fullmatch(path)}
                    with packed(drawings, members) as repacked:
                        read_part(repacked)
                        yield f"{part}.zip", repacked


@dataclass(frozen=True)
class Part:
    """The content of one zip.

    Attributes:
        name: ``images_background`` or ``images_evaluation``.
        characters: alphabet and number of each character.
        ink: bool (characters * 20, 105, 105), true where there is ink.
    """

    name: str
    characters: list[Character]
    ink: np.ndarray


def vinyals_split() -> dict[Character, str]:
    """Read the split of Vinyals et al.: train, val or test for each character."""
    split_of: dict[Character, str] = {}
    for split, alphabet, *ranges in read_split_list(VINYALS, VINYALS_SHA256):
        for span in ranges:
            first, _, last = span.partition("-")
            for number in range(int(first), int(last or first) + 1):
                split_of[alphabet, number] = split
    return split_of


def read_part(path: Path) -> Part:
    """Read the drawings of a zip.

    Raises:
        DataError: If it is damaged, or its drawings are not those of Omniglot.
    """
    with Archive(path) as archive:
        matches = [(MEMBER.fullmatch(name), name) for name in archive.sizes]
        members = sorted((match.groups(), name) for match, name in matches if match)
        if len(members) > MOST:
            raise archive.fault(
                f"it has {len(members)} drawings, more than an Omniglot part", Omniglot.how_to_get
            )
        readers = [partial(_read_ink, archive, name) for _, name in members]
        ink = stacked(readers, (SIDE, SIDE)).view(bool)
    names = sorted({part for (part, *_), _ in members})
    digest = hashlib.sha256(np.packbits(ink).data).hexdigest()
    if len(names) != 1 or digest != INK_SHA256[names[0]]:
        raise DataError(
            f"its {len(members)} drawings are not those of an Omniglot part "
            f"(sha256 {digest[:16]}...)",
            where=str(path),
            hint=f"fetch it again. {Omniglot.how_to_get}",
        )
    first_drawings = members[::DRAWERS]
    characters = [(alphabet, int(number)) for (_, alphabet, number, _), _ in first_drawings]
    return Part(names[0], characters, ink)


def _read_ink(archive: Archive, name: str) -> np.ndarray:
    """Read one drawing, uint8 (105, 105), 1 where there is ink."""
    grey = photograph(archive, name, SIDE, 1, exactly)[0]
    return (grey < 128).view(np.uint8)


def shrink(ink: np.ndarray) -> np.ndarray:
    """Shrink drawings, bool (N, 105, 105), to uint8 (N, 28, 28) with ink 255 on 0."""
    from PIL import Image

    small = np.empty((len(ink), SMALL, SMALL), np.uint8)
    for drawing, out in zip(ink, small, strict=True):
        paper = Image.fromarray(np.where(drawing, np.uint8(0), np.uint8(255)))
        out[:] = 255 - np.asarray(paper.resize((SMALL, SMALL), Image.Resampling.LANCZOS))
    return small
