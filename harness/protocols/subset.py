"""Which images of a split are measured: a sample with classes balanced, or the first ones.

In a suite they are ``images: 1000`` and ``images: {first: 1000}``; in a setting 1000 and
``"first 1000"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.data.base import Images
from harness.protocols.base import Fault
from harness.registry import Config
from harness.rng import Rng

FIRST = "first "


class First(Config):
    """The first images in the order of the dataset, as published numbers are often taken."""

    first: int = Field(ge=1, description="how many images, from the first one of the dataset on")


def _several(images: int | First) -> int | First:
    if (images.first if isinstance(images, First) else images) < 2:
        raise ValueError("at least 2 images are needed")
    return images


def _tag(value: Any) -> str:
    return "first" if isinstance(value, dict | First) else "number"


Some = Annotated[
    Annotated[int, Field(ge=1), Tag("number")] | Annotated[First, Tag("first")],
    # Chosen before validation, so that a faulty mapping is not called a faulty number.
    Discriminator(_tag),
]
"""A number of images, or ``{first: N}``."""

Several = Annotated[Some, AfterValidator(_several)]
"""The same, for at least two images."""


def of_config(images: int | First | None) -> int | str | None:
    """What a setting says of the key ``images``.

    >>> of_config(1000), of_config(First(first=1000)), of_config(None)
    (1000, 'first 1000', None)
    """
    return f"{FIRST}{images.first}" if isinstance(images, First) else images


def number_of(chosen: int | str) -> int:
    """How many images a setting asks for.

    >>> number_of(1000), number_of("first 1000")
    (1000, 1000)
    """
    return int(chosen.removeprefix(FIRST)) if isinstance(chosen, str) else chosen


def words(chosen: int | str | None) -> str:
    """Which images, as the protocol block says it.

    >>> words(1000), words("first 1000"), words(None)
    ('1000, classes balanced', "the first 1000 in the dataset's order", 'all')
    """
    if chosen is None:
        return "all"
    if isinstance(chosen, str):
        return f"the {chosen} in the dataset's order"
    return f"{chosen}, classes balanced"


def too_many(images: int | First | None, available: int) -> Iterator[Fault]:
    """Yield a fault if a split has fewer images than the key asks for."""
    chosen = of_config(images)
    if chosen is not None and number_of(chosen) > available:
        path = ("images", "first") if isinstance(images, First) else ("images",)
        message = f"{number_of(chosen)} images of {available}"
        yield Fault(path, message, f"at most {available}")


def subset(images: Images, chosen: int | str | None) -> Images:
    """Take the images that a setting asks for, the same for every learner and every seed.

    Args:
        images: labelled images.
        chosen: how many with classes balanced, ``"first N"``, or None for all.

    Returns:
        the images, in the order of their dataset.
    """
    if chosen is None:
        return images
    if isinstance(chosen, str):
        return images.take(np.arange(number_of(chosen)))
    labels = images.known_labels
    rng = Rng(0).numpy("attack_sweep subset")
    order = rng.permutation(len(images))
    within = np.empty(len(images), np.int64)  # rank of each image within its class
    for label in np.unique(labels):
        members = order[labels[order] == label]
        within[members] = np.arange(len(members))
    tie = np.empty(len(images), np.int64)
    tie[order] = np.arange(len(images))
    return images.take(np.sort(np.lexsort((tie, within))[:chosen]))
