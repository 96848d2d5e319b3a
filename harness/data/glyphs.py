"""An embedded stand-in for Omniglot, rendered from the alphabets of a font."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.data import strokes
from harness.data.base import Dataset, Facts, Loaded
from harness.data.carve import even_facts, rows_of_splits
from harness.data.shipped import package_file, read_split_list, split_file
from harness.registry import datasets
from harness.rng import Rng

CHARACTERS = "glyphs.txt"
SHA256 = "941847bfdb548696af67c718fe1e1900e2f286f079ffa2c619213af56fb54807"
DRAWERS = 20
SIDE = 28


@datasets.register("glyphs")
class Glyphs(Dataset):
    """Stand-in for Omniglot (not the real one): 738 characters of 14 alphabets, 20 drawers each.

    Characters are the centre lines of DejaVu Sans glyphs, bent and inked by 20 pseudo-random
    drawers. It has the shape of Omniglot's problem: alphabets, line drawings of one stroke width,
    20 images a class, classes disjoint between splits. No human drew it: its numbers compare with
    each other, never with published Omniglot results.
    """

    origin = "embedded"
    licence = "DejaVu Fonts License (Bitstream Vera derivative)"
    citation = (
        "rendered from DejaVu Sans as shipped with matplotlib (Hunter, CiSE 9(3), 2007); "
        "a stand-in, not Omniglot"
    )
    how_to_get = "pip install matplotlib"
    pinned = {"{}": "d46967b4e6b5e5c325941eabfa04518f0b6a020f4a75641d801c83b099b6c73c"}

    def facts(self) -> Facts:
        """Return shape and splits; train, val and test are different alphabets."""
        splits = even_facts({"train": 513, "val": 59, "test": 166}, DRAWERS)
        return Facts((1, SIDE, SIDE), {"alphabets": splits}, frozenset({"alphabets"}))

    def sources(self) -> list[Path]:
        """Find the font and the list of characters."""
        font = package_file("matplotlib", "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        return [font, split_file(CHARACTERS)]

    def build(self) -> Loaded:
        """Thin each character once and let the drawers draw it."""
        font, _ = self.sources()
        pixels: list[np.ndarray] = []
        names: list[str] = []
        groups: list[str] = []
        split_of_class: list[str] = []
        for split, alphabet, *codes in read_split_list(CHARACTERS, SHA256):
            characters = [chr(int(code, 16)) for code in codes]
            fields = strokes.distance_fields(font, characters)
            pixels.append(strokes.draw(fields, DRAWERS, SIDE, Rng(0).child("glyphs", alphabet)))
            names += [f"{alphabet}/U+{code}" for code in codes]
            groups += [alphabet] * len(codes)
            split_of_class += [split] * len(codes)
        return Loaded(
            pixels=np.concatenate(pixels).reshape(-1, 1, SIDE, SIDE),
            labels=np.repeat(np.arange(len(names)), DRAWERS),
            class_names=tuple(names),
            groups=tuple(groups),
            splittings={"alphabets": rows_of_splits(np.repeat(split_of_class, DRAWERS))},
        )
