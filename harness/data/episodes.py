"""Episodes: which images of a split are support and query of each N-way K-shot task. Indices only, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from harness.data.base import Images
from harness.errors import HarnessError
from harness.rng import Rng

Mode = Literal["replacement", "class_disjoint", "image_disjoint"]

BLOCK = 256
"""Episodes drawn from one generator; part of what an episode depends on, so never to be changed."""


@dataclass(frozen=True)
class Episodes:
    """E episodes. Rows are positions in the ``Images`` they were drawn from.

    Attributes:
        support: int64 (E, ways * shots), way by way.
        support_labels: int64 (E, ways * shots) in [0, ways).
        query: int64 (E, ways * queries), way by way.
        query_labels: int64 (E, ways * queries) in [0, ways).
        classes: int64 (E, ways), the class that each way is.
    """

    support: np.ndarray
    support_labels: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)


def sample(
    images: Images,
    *,
    ways: int,
    shots: int,
    queries: int,
    episodes: int,
    rng: Rng,
    groups: np.ndarray | None = None,
    mode: Mode = "replacement",
    first: int = 0,
) -> Episodes:
    """Episodes ``first`` .. ``first + episodes - 1`` of an endless (or, in a disjoint mode, finite) sequence.

    Episode i depends on the arguments but not on ``first`` nor ``episodes``: any part can be drawn alone.
    Within an episode classes are distinct and no image is drawn twice.

    Args:
        images: with labels.
        shots: support images a class.
        queries: query images a class.
        groups: int (n_classes,), the group of each class. All classes of an episode are then of one group, which is
            drawn uniformly among those that have at least ``ways`` classes.
        mode: ``replacement`` draws each episode anew; ``class_disjoint`` uses no class in two episodes,
            ``image_disjoint`` no image (intervals over episodes that share images are too narrow: Lafargue, Smith,
            Smith, Vandenhende, TMLR 2024, arXiv 2409.02850).

    Raises:
        HarnessError: such episodes cannot be drawn; the message says what the limit is.
    """
    pool = _Pool.of(images, ways, shots, queries, groups, mode)
    rng = rng.child("episodes", mode, "across" if groups is None else "within", ways, shots, queries)
    if mode == "replacement":
        classes, rows = _with_replacement(pool, ways, shots + queries, episodes, first, rng)
    else:
        classes, rows = _disjoint(pool, ways, shots + queries, mode, first, episodes, rng)
    support, query = rows[:, :, :shots], rows[:, :, shots:]
    way = np.arange(ways)
    return Episodes(
        support=support.reshape(episodes, -1),
        support_labels=np.tile(np.repeat(way, shots), (episodes, 1)),
        query=query.reshape(episodes, -1),
        query_labels=np.tile(np.repeat(way, queries), (episodes, 1)),
        classes=classes,
    )


def capacity(
    counts: np.ndarray, *, ways: int, shots: int, queries: int, mode: Mode, groups: np.ndarray | None = None
) -> int | None:
    """The most episodes that a mode allows; None where there is no limit.

    Args:
        counts: int (n_classes,), images of each class.
        groups: as in ``sample``.
    """
    if mode == "replacement":
        return None
    portions = _portions(counts, shots + queries, mode)
    groups = np.zeros(len(counts), int) if groups is None else groups
    return sum(_longest(portions[groups == group], ways) for group in np.unique(groups))


@dataclass(frozen=True)
class _Pool:
    """Images by class: those of class c are ``order[start[c] : start[c] + count[c]]``; classes by group."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray
    groups: list[np.ndarray]

    @classmethod
    def of(cls, images: Images, ways: int, shots: int, queries: int, groups: np.ndarray | None, mode: Mode) -> _Pool:
        if images.labels is None:
            raise HarnessError("episodes need labels, and these images have none")
        if mode not in get_args(Mode):
            raise HarnessError(f"unknown mode {mode!r}", hint=f"allowed: {', '.join(get_args(Mode))}")
        if min(ways, shots, queries) < 1:
            raise HarnessError(f"ways {ways}, shots {shots}, queries {queries}: each must be at least 1")
        count = np.bincount(images.labels, minlength=images.n_classes)
        if count.min(initial=shots + queries) < shots + queries:
            raise HarnessError(f"{shots} shots + {queries} queries need {shots + queries} images a class; "
                               f"class {count.argmin()} has {count.min()}")
        groups = np.zeros(len(count), np.int64) if groups is None else groups
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        eligible = [classes for classes in members if len(classes) >= ways]
        if not eligible:
            most = max(map(len, members), default=0)
            raise HarnessError(f"{ways} ways, but the largest group has {most} classes" if len(members) > 1 else
                               f"{ways} ways, but there are {most} classes")
        return cls(np.argsort(images.labels, kind="stable"), np.cumsum(count) - count, count, eligible)


def _with_replacement(
    pool: _Pool, ways: int, size: int, episodes: int, first: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    blocks = range(first // BLOCK, -(-(first + episodes) // BLOCK))
    drawn = [_block(pool, ways, size, rng.numpy("block", block)) for block in blocks]
    part = slice(first - BLOCK * blocks.start, first - BLOCK * blocks.start + episodes)
    return (np.concatenate([classes for classes, _ in drawn])[part], np.concatenate([rows for _, rows in drawn])[part])


def _block(pool: _Pool, ways: int, size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """BLOCK episodes: classes (BLOCK, ways) and images (BLOCK, ways, size)."""
    group_sizes = np.array([len(classes) for classes in pool.groups])
    group_starts = np.cumsum(group_sizes) - group_sizes
    group = (generator.random(BLOCK) * len(pool.groups)).astype(np.int64)
    member = _distinct(group_sizes[group], ways, generator)
    classes = np.concatenate(pool.groups)[group_starts[group, None] + member]
    flat = classes.ravel()
    rows = pool.order[pool.start[flat, None] + _distinct(pool.count[flat], size, generator)]
    return classes, rows.reshape(BLOCK, ways, size)


def _distinct(limits: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """For each of R rows, k distinct integers below its limit, every ordered choice equally likely.

    Floyd's algorithm (Bentley, Floyd, CACM 30(9), 1987) over all rows at once, then a shuffle: the work does not grow
    with the limits.

    Args:
        limits: int (R,), each at least k.

    Returns:
        int64 (R, k).
    """
    uniform = generator.random((k, len(limits)))
    chosen = np.empty((k, len(limits)), np.int64)
    for i in range(k):
        last = limits - k + i
        candidate = (uniform[i] * (last + 1)).astype(np.int64)
        taken = (chosen[:i] == candidate).any(0)
        chosen[i] = np.where(taken, last, candidate)
    shuffle = generator.random((len(limits), k)).argsort(1, kind="stable")
    return np.take_along_axis(chosen.T, shuffle, 1)


def _portions(counts: np.ndarray, size: int, mode: Mode) -> np.ndarray:
    """How many episodes each class can be in."""
    return np.ones_like(counts) if mode == "class_disjoint" else counts // size


def _longest(portions: np.ndarray, ways: int) -> int:
    """The largest E with sum(min(portions, E)) >= ways * E: the most episodes of ``ways`` distinct classes."""
    low, high = 0, int(portions.sum()) // ways
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(portions, middle).sum() >= ways * middle else (low, middle - 1)
    return low


def _schedule(portions: np.ndarray, ways: int, generator: np.random.Generator) -> np.ndarray:
    """As many episodes of ``ways`` distinct classes as the portions allow, (E, ways).

    Classes are drawn in proportion to their portions left, except that one with as many portions left as there are
    episodes left must be taken: then the longest schedule is always reached.
    """
    left, length = portions.copy(), _longest(portions, ways)
    schedule = np.empty((length, ways), np.int64)
    for i in range(length):
        with np.errstate(divide="ignore"):
            key = generator.exponential(size=len(left)) / left
        must = left >= length - i
        if must.sum() <= ways:
            key[must] = -1.0
        schedule[i] = generator.permutation(np.argsort(key, kind="stable")[:ways])
        left[schedule[i]] -= 1
    return schedule


def _disjoint(
    pool: _Pool, ways: int, size: int, mode: Mode, first: int, episodes: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """The whole schedule, of which episodes ``first`` .. are taken: classes (E, ways) and images (E, ways, size)."""
    portions = _portions(pool.count, size, mode)
    parts = [classes[_schedule(portions[classes], ways, rng.numpy("schedule", group))]
             for group, classes in enumerate(pool.groups)]
    schedule = rng.numpy("order").permutation(np.concatenate(parts))
    if first + episodes > len(schedule):
        raise HarnessError(f"{first + episodes} episodes asked for; {mode} allows at most {len(schedule)} here",
                           hint="fewer episodes, ways, shots or queries, or mode: replacement")
    rows = np.empty((*schedule.shape, size), np.int64)
    for label in range(len(pool.count)):
        at = np.nonzero(schedule == label)
        own = pool.order[pool.start[label] : pool.start[label] + pool.count[label]]
        own = rng.numpy("images", label).permutation(own)[: len(at[0]) * size]
        rows[at] = own.reshape(-1, size)
    part = slice(first, first + episodes)
    return schedule[part], rows[part]
