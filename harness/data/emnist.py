"""EMNIST by part, letters, digits or balanced, from its idx files."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from harness.data.base import Dataset, Remote
from harness.data.forms import ClassFolders, Files, Form, Part, part_of
from harness.data.idx import parse_idx
from harness.data.published import Published
from harness.data.ten_classes import DIGITS
from harness.errors import DataError
from harness.registry import datasets

SHAPE = (1, 28, 28)
LETTERS = tuple(string.ascii_uppercase)
PARTS = {
    "letters": LETTERS,
    "digits": DIGITS,
    # Fifteen small letters look like their capitals and share a class with them.
    "balanced": (*DIGITS, *LETTERS, *"abdefghnqrt"),
}
"""The classes of each part. In ``letters`` capitals and small letters share a class."""
COUNTS = {"letters": (4800, 800), "digits": (24_000, 4_000), "balanced": (2400, 400)}
"""Images of each class in train and test."""


@datasets.register("emnist")
class EMNIST(Published):
    """Handwritten letters and digits: EMNIST letters, digits or balanced, upright, 28 x 28."""

    class Config(Published.Config):
        """Which part."""

        part: Literal["letters", "digits", "balanced"] = Field(
            "letters",
            description="letters: 26 classes, 145,600 images; digits: 10, 280,000; "
            "balanced: 47, 131,600",
        )

    config: Config
    licence = "public domain (NIST)"
    citation = "Cohen, Afshar, Tapson, van Schaik, EMNIST, IJCNN 2017"
    how_to_get = (
        "run `harness data get emnist` (562 MB); or name NIST's gzip.zip or the folder of "
        "emnist-letters-train-images-idx3-ubyte and so on as {kind: emnist, folder: PATH}, or run "
        "`harness data import emnist PATH`"
    )
    # NIST's own archive; several independent projects record the sha256.
    remotes = (
        Remote(
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
            561_753_746,
        ),
    )
    shape = SHAPE
    usual = ("EMNIST/raw",)

    def variants(self) -> Iterator[Dataset.Config]:
        """Yield one config for each part."""
        for part in PARTS:
            yield self.Config.model_validate({"part": part})

    @property
    def class_names(self) -> tuple[str, ...]:
        """The characters."""
        return PARTS[self.config.part]

    @property
    def counts(self) -> Mapping[str, Sequence[int]]:
        """All classes have the same number of images."""
        train, test = COUNTS[self.config.part]
        classes = len(self.class_names)
        return {"train": (train,) * classes, "test": (test,) * classes}

    @property
    def forms(self) -> tuple[Form, ...]:
        """Idx files; class folders."""
        stem = f"emnist-{self.config.part}"
        files = {
            split: [(f"{stem}-{split}-images-idx3-ubyte", f"{stem}-{split}-labels-idx1-ubyte")]
            for split in ("train", "test")
        }
        return Files(files, self._decode), ClassFolders(self.class_names, SHAPE)

    def _decode(self, contents: Sequence[bytes], where: str) -> Part:
        """Read images that are stored column by column; letters are numbered from 1."""
        images, labels = (parse_idx(content, where) for content in contents)
        if images.ndim != 3 or labels.ndim != 1:
            raise DataError("it holds no images with labels", where=where, hint="fetch it again")
        first = 1 if self.config.part == "letters" else 0
        numbers = labels.astype(int) - first
        upright = images.transpose(0, 2, 1)[:, None]
        return part_of(upright, numbers, len(self.class_names), where)
