"""Patches of natural photographs, prepared as for models of primary visual cortex."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.photographs import decode
from harness.data.shipped import package_file
from harness.errors import DataError
from harness.registry import datasets
from harness.rng import Rng

PHOTOGRAPHS = 50
SHIPPED = ("china.jpg", "flower.jpg")
BORDER = 8
"""Pixels that are cropped off every side: some photographs have black borders of slides."""

FLATTEST = 0.02
"""Patches whose standard deviation of log luminance is below this are not used."""

GREY = 128
STEP = 32
"""Value of zero, and grey levels of one standard deviation; beyond four they are clipped."""

TESTED = 5
"""There is one test patch for so many training patches."""


@datasets.register("natural-patches")
class NaturalPatches(Dataset):
    """Patches of natural photographs: log luminance, zero mean and about unit contrast.

    A patch is log(luminance + 0.02) less its mean, over the root of its variance + 0.01. With
    ``on_off`` it has two channels, of what is above and what is below zero; otherwise zero is
    grey 128. The class of a patch is its photograph, which gives learners that need labels a task.
    """

    class Config(Dataset.Config):
        """Which photographs, and how they are cut."""

        source: Literal["natural-images", "shipped"] = Field(
            "natural-images",
            description="50 photographs in natural-images below the data root, or the two that "
            "come with scikit-learn",
        )
        size: int = Field(12, ge=6, le=32, description="side of a patch in pixels")
        patches: int = Field(10_000, ge=100, le=200_000, description="number of training patches")
        on_off: bool = Field(False, description="two channels: above and below the mean")

    config: Config
    origin = "data root"
    folder_name = "natural-images"
    licence = "research and education (photographs of BSDS500); shipped: scikit-learn's"
    citation = "Arbelaez, Maire, Fowlkes, Malik, IEEE TPAMI 33(5), 2011"
    how_to_get = (
        "get 50 photographs of BSDS500 (train and val) and run `harness data import "
        "natural-patches FOLDER`, or set `source: shipped`"
    )
    pinned = {
        '{"on_off": false, "patches": 10000, "size": 12, "source": "natural-images"}': (
            "885c1b77df6bc66df03106309fc62618e4cb91a83ab065a94da73f1136eb2202"
        )
    }

    @property
    def _photographs(self) -> int:
        return PHOTOGRAPHS if self.config.source == "natural-images" else len(SHIPPED)

    @property
    def _counts(self) -> dict[str, int]:
        """Patches of each photograph, by split."""
        each = self.config.patches // self._photographs
        return {"train": each, "test": max(1, each // TESTED)}

    def facts(self) -> Facts:
        """Return shape and splits; every photograph is in both."""
        number = self._photographs
        splits = {
            split: SplitFacts(number, count, count * number)
            for split, count in self._counts.items()
        }
        channels = 2 if self.config.on_off else 1
        return Facts((channels, self.config.size, self.config.size), {"patches": splits})

    def sources(self) -> list[Path]:
        """The photographs, by name.

        Raises:
            DataError: There are not as many as there should be.
        """
        if self.config.source == "shipped":
            return [package_file("sklearn", "datasets", "images", name) for name in SHIPPED]
        paths = sorted(self.place.glob("*.jpg"))
        if len(paths) != PHOTOGRAPHS:
            raise DataError(
                f"{len(paths)} photographs, not {PHOTOGRAPHS}",
                where=str(self.place),
                hint=self.how_to_get,
            )
        return paths

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Find the photographs of a folder.

        Raises:
            DataError: It has another number of them.
        """
        paths = sorted(path.glob("*.jpg"))
        if len(paths) != PHOTOGRAPHS:
            raise DataError(f"{len(paths)} photographs, not {PHOTOGRAPHS}", where=str(path))
        for each in paths:
            yield each.name, each

    def build(self) -> Loaded:
        """Cut the same number of patches out of each photograph, at seeded places.

        Raises:
            DataError: A photograph cannot be read, is too small, or has too little contrast.
        """
        counts = self._counts
        total = sum(counts.values())
        paths = self.sources()
        cut = [
            self._patches(path, total, Rng(0).child("natural patches", place))
            for place, path in enumerate(paths)
        ]
        pixels = np.concatenate([_as_pixels(patches, self.config.on_off) for patches in cut])
        place = np.arange(len(paths) * total) % total
        rows = np.arange(len(pixels))
        return Loaded(
            pixels=pixels,
            labels=np.repeat(np.arange(len(paths)), total),
            class_names=tuple(path.stem for path in paths),
            groups=None,
            splittings={
                "patches": {
                    "train": rows[place < counts["train"]],
                    "test": rows[place >= counts["train"]],
                }
            },
        )

    def _patches(self, path: Path, count: int, rng: Rng) -> np.ndarray:
        """Float (count, size, size) of one photograph."""
        try:
            grey = np.asarray(decode(path.read_bytes(), 1), np.float64) / 255
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be read: {error}", where=str(path)) from None
        logs = np.log(grey[BORDER:-BORDER, BORDER:-BORDER] + 0.02)
        size = self.config.size
        if min(logs.shape) < 2 * size:
            raise DataError("the photograph is too small", where=str(path), hint=self.how_to_get)
        windows = np.lib.stride_tricks.sliding_window_view(logs, (size, size))
        generator = rng.numpy("places")
        # Twice as many as needed: flat ones are left out.
        chosen = generator.choice(windows.shape[0] * windows.shape[1], 2 * count, replace=False)
        patches = windows[np.divmod(chosen, windows.shape[1])]
        patches = patches[patches.std((1, 2)) >= FLATTEST][:count]
        if len(patches) < count:
            raise DataError(
                f"only {len(patches)} of {count} patches have contrast",
                where=str(path),
                hint="ask for fewer patches",
            )
        patches = patches - patches.mean((1, 2), keepdims=True)
        scaled: np.ndarray = patches / np.sqrt(patches.var((1, 2), keepdims=True) + 0.01)
        return scaled


def _as_pixels(patches: np.ndarray, on_off: bool) -> np.ndarray:
    """Patches (N, H, W) as uint8 (N, 1 or 2, H, W)."""
    if on_off:
        halves = np.stack([np.maximum(patches, 0), np.maximum(-patches, 0)], 1)
        return np.clip(np.rint(2 * STEP * halves), 0, 255).astype(np.uint8)
    return np.clip(np.rint(GREY + STEP * patches[:, None]), 0, 255).astype(np.uint8)
