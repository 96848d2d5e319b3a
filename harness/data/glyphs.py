"""An embedded stand-in for Omniglot, rendered from the alphabets of a font."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.data import strokes
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import listed, package_file, split_file
from harness.registry import datasets
from harness.rng import Rng

CHARACTERS = "glyphs.txt"
SHA256 = "941847bfdb548696af67c718fe1e1900e2f286f079ffa2c619213af56fb54807"
DRAWERS = 20


@datasets.register("glyphs")
class Glyphs(Dataset):
    """Stand-in for Omniglot (not the real one): 738 characters of 14 alphabets, 20 simulated drawers each.

    Characters are the centre lines of DejaVu Sans glyphs, bent and inked by 20 pseudo-random drawers. It has the shape
    of Omniglot's problem (alphabets, one-stroke-width line drawings, 20 images a class, classes disjoint between
    splits), but no human drew it: its numbers compare with each other, never with published Omniglot results.
    """

    origin = "embedded"
    licence = "DejaVu Fonts License (Bitstream Vera derivative)"
    citation = "rendered from DejaVu Sans as shipped with matplotlib (Hunter, CiSE 9(3), 2007); a stand-in, not Omniglot"
    how_to_get = "pip install matplotlib"
    pinned = {"{}": "d46967b4e6b5e5c325941eabfa04518f0b6a020f4a75641d801c83b099b6c73c"}

    def facts(self) -> Facts:
        """Shape and splits; train, val and test are different alphabets."""
        splits = {"train": 513, "val": 59, "test": 166}
        return Facts(
            image_shape=(1, 28, 28),
            splittings={
                "alphabets": {
                    name: SplitFacts(n, DRAWERS, n * DRAWERS) for name, n in splits.items()
                }
            },
            class_disjoint=frozenset({"alphabets"}),
        )

    def sources(self) -> list[Path]:
        """The font, and the list of characters."""
        return [
            package_file("matplotlib", "mpl-data", "fonts", "ttf", "DejaVuSans.ttf"),
            split_file(CHARACTERS),
        ]

    def build(self) -> Loaded:
        """Thin each character once and let the drawers draw it."""
        font, _ = self.sources()
        pixels, names, groups, split_of = [], [], [], []
        for split, alphabet, *codes in listed(CHARACTERS, SHA256):
            fields = strokes.distance_fields(font, [chr(int(code, 16)) for code in codes])
            pixels.append(strokes.draw(fields, DRAWERS, 28, Rng(0).child("glyphs", alphabet)))
            names += [f"{alphabet}/U+{code}" for code in codes]
            groups += [alphabet] * len(codes)
            split_of += [split] * len(codes)
        labels = np.repeat(np.arange(len(names)), DRAWERS)
        of_image = np.array(split_of)[labels]
        return Loaded(
            pixels=np.concatenate(pixels).reshape(-1, 1, 28, 28),
            labels=labels,
            class_names=tuple(names),
            groups=tuple(groups),
            splittings={
                "alphabets": {
                    name: np.flatnonzero(of_image == name) for name in ("train", "val", "test")
                }
            },
        )
