"""Splits of the user's own images: drawn where they are wanted, and which splitting they make."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import Field, model_serializer, model_validator

from harness import registry
from harness.data.carve import stratified_draw
from harness.errors import DataError
from harness.rng import Rng

SHARED = "standard"
"""The splitting in which every split has every class."""
DISJOINT = "classes"
"""The splitting in which no class is in two splits."""
SHOWN = 5
"""Classes that an error lists."""


class Carve(registry.Config):
    """Splits that are drawn from the training images, or from images without a split."""

    val: float = Field(0.0, ge=0, lt=1, description="share of the images for validation")
    test: float = Field(0.0, ge=0, lt=1, description="share of the images for the test")
    seed: int = Field(0, ge=0, description="of the draw, which keeps the proportions of classes")

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) and value.startswith("{") else value

    @model_serializer
    def _as_text(self) -> str:
        """As text, because a worker looks up what it has loaded by its keys."""
        return json.dumps({"val": self.val, "test": self.test, "seed": self.seed})

    @model_validator(mode="after")
    def _leaves_some(self) -> Carve:
        if not 0 < self.val + self.test < 1:
            raise ValueError("val and test together must be above 0 and below 1")
        return self


def carved(splits: np.ndarray, labels: np.ndarray, carve: Carve, where: str) -> np.ndarray:
    """Draw splits from the images that have no split or are for training.

    Args:
        splits: str (N,), the split of each image, or "".
        labels: int (N,), the class of each image.
        carve: what to draw.
        where: the file or folder, for errors.

    Returns:
        str (N,), the split of each image.

    Raises:
        DataError: If a split that is to be drawn is there already.
    """
    sizes = {"test": carve.test, "val": carve.val}
    for split, share in sizes.items():
        if share and (splits == split).any():
            raise DataError(
                f"there is a split {split!r} already, which `carve` would draw",
                where=where,
                hint=f"leave `{split}` out of `carve`",
            )
    out = np.where(splits == "", "train", splits).astype("<U5")
    available = int((out == "train").sum())
    for split, share in sizes.items():
        free = np.flatnonzero(out == "train")
        size = round(share * available)
        if size:
            rng = Rng(carve.seed).child("carve", split)
            out[free[stratified_draw(labels[free], size, rng)]] = split
    return out


def splittings_of(
    memberships: Iterable[tuple[str, str]], wanted: str | None, where: str
) -> list[str]:
    """The splittings that splits make; a single split makes both.

    Args:
        memberships: each class with each of its splits.
        wanted: ``disjoint`` or ``shared``; None takes what they are.
        where: the file or folder, for errors.

    Raises:
        DataError: If they are not what is wanted, or neither.

    >>> splittings_of([("cat", "train"), ("dog", "test")], None, "pets")
    ['classes']
    """
    splits_of: dict[str, list[str]] = {}
    for label, split in memberships:
        splits_of.setdefault(label, []).append(split)
    n_splits = len({split for splits in splits_of.values() for split in splits})
    in_two = {label: splits for label, splits in splits_of.items() if len(splits) > 1}
    in_some = {label: splits for label, splits in splits_of.items() if len(splits) < n_splits}
    if wanted == "shared" and in_some:
        raise DataError(
            f"classes are not in every split: {_listed(in_some, 'only ')}",
            where=where,
            hint="shared classes must be in all splits",
        )
    if in_two and (wanted == "disjoint" or (wanted is None and in_some)):
        hint = "give each class to one split, or to every split"
        if wanted:
            hint = "give each class to one split, or set classes: shared to classify instead"
        raise DataError(f"classes are in two splits: {_listed(in_two, '')}", where=where, hint=hint)
    fitting = {
        SHARED: wanted != "disjoint" and not in_some,
        DISJOINT: wanted != "shared" and not in_two,
    }
    return [name for name, fits in fitting.items() if fits]


def _listed(splits_of: dict[str, list[str]], word: str) -> str:
    faults = [f"{label} ({word}{', '.join(splits)})" for label, splits in splits_of.items()]
    dots = " ..." if len(faults) > SHOWN else ""
    return f"{'; '.join(faults[:SHOWN])}{dots}"
