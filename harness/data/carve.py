"""Fixed splits, drawn once from the labels alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.data.base import SplitFacts
from harness.rng import Rng

SPLITS = ("train", "val", "test")


def shares(counts: np.ndarray, size: int) -> np.ndarray:
    """Distribute a number of images over classes, in proportion to their sizes.

    Each class gets the integer part of its share. The rest goes to the largest remainders
    (Hamilton's method), and among equal remainders to the lower class.

    Args:
        counts: int (C,), images of each class.
        size: how many in all, at most the sum of the counts.

    Returns:
        int64 (C,), which sums to ``size``.

    >>> shares(np.array([7, 2, 1]), 5)
    array([4, 1, 0])
    """
    quota, remainder = np.divmod(counts.astype(np.int64) * size, counts.sum())
    by_remainder = np.argsort(-remainder, kind="stable")
    quota[by_remainder[: size - quota.sum()]] += 1
    return quota


def stratified_draw(labels: np.ndarray, size: int, rng: Rng) -> np.ndarray:
    """Draw positions whose classes are in the proportions of ``labels``; see ``shares``.

    Args:
        labels: int (N,).
        size: how many to draw, at most N.
        rng: source of the draws.

    Returns:
        int64 (size,), ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    quota = shares(counts, size)
    drawn = []
    for label, wanted in zip(classes, quota, strict=True):
        members = np.flatnonzero(labels == label)
        shuffled = rng.numpy("class", int(label)).permutation(members)
        drawn.append(shuffled[:wanted])
    return np.sort(np.concatenate(drawn))


def carve(labels: np.ndarray, val: int, test: int, rng: Rng) -> dict[str, np.ndarray]:
    """Split positions into train, val and test, each with the class proportions of ``labels``.

    Args:
        labels: int (N,).
        val: size of the validation split; 0 leaves it out.
        test: size of the test split; 0 leaves it out.
        rng: source of the draws.

    Returns:
        int64 positions of each split, ascending.
    """
    positions = np.arange(len(labels))
    splits = {}
    for name, size in (("test", test), ("val", val)):
        if size:
            splits[name] = positions[stratified_draw(labels[positions], size, rng.child(name))]
            positions = np.setdiff1d(positions, splits[name])
    return {"train": positions, **splits}


def by_class(labels: np.ndarray, first_test_class: int) -> dict[str, np.ndarray]:
    """Put classes below ``first_test_class`` into train and the others into test.

    >>> by_class(np.array([0, 1, 0]), 1)
    {'train': array([0, 2]), 'test': array([1])}
    """
    return {
        "train": np.flatnonzero(labels < first_test_class),
        "test": np.flatnonzero(labels >= first_test_class),
    }


def rows_of_splits(
    split_of_image: Sequence[str] | np.ndarray, splits: Sequence[str] = SPLITS
) -> dict[str, np.ndarray]:
    """Rows of each split, from the name of each image's split.

    >>> rows_of_splits(["test", "train", "test"], ["train", "test"])
    {'train': array([1]), 'test': array([0, 2])}
    """
    names = np.asarray(split_of_image)
    return {split: np.flatnonzero(names == split) for split in splits}


def even_facts(classes: Mapping[str, int], per_class: int) -> dict[str, SplitFacts]:
    """Facts of splits whose classes all have ``per_class`` images.

    Args:
        classes: number of classes of each split.
        per_class: images of each class.
    """
    return {
        split: SplitFacts(count, per_class, count * per_class) for split, count in classes.items()
    }


def count_classes(split_of_class: Sequence[str], splits: Sequence[str] = SPLITS) -> dict[str, int]:
    """Number of classes of each split, from the name of each class's split.

    >>> count_classes(["train", "train", "test"])
    {'train': 2, 'val': 0, 'test': 1}
    """
    return {split: split_of_class.count(split) for split in splits}
