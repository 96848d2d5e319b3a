"""Episodes: which images of a split are support and query of each N-way K-shot task. Indices only, many at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, get_args

import numpy as np

from harness.data.base import Images
from harness.errors import HarnessError
from harness.rng import Rng

Mode = Literal["replacement", "class_disjoint", "image_disjoint"]

BLOCK = 256
"""Episodes drawn from one generator; part of what an episode depends on, so never to be changed."""


PAD = -1
"""Stands where an episode has fewer ways or shots than the widest of its set."""


class Span(NamedTuple):
    """A number of ways or shots: one, or drawn uniformly from ``low`` to ``high``, both included."""

    low: int
    high: int

    @classmethod
    def of(cls, value: int | str) -> Span:
        """From a number, or from words such as ``"1-10"``.

        >>> Span.of(5), Span.of("1-10")
        (Span(low=5, high=5), Span(low=1, high=10))

        Raises:
            ValueError: it is neither, or ``low`` is below 1 or not below ``high``.
        """
        match = (
            re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})", value) if isinstance(value, str) else None
        )
        if match is None and isinstance(value, str):
            raise ValueError(f"{value!r} is neither a number nor a range such as 1-10")
        low, high = map(int, match.groups()) if match else (value, value)
        if low < 1:
            raise ValueError(f"{value}: must be at least 1")
        if match and low >= high:
            raise ValueError(f"{value!r} is no range from a smaller to a larger number")
        return cls(low, high)

    @property
    def fixed(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high

    @property
    def value(self) -> int | str:
        """As ``of`` takes it."""
        return self.low if self.fixed else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class Episodes:
    """E episodes. Rows are positions in the ``Images`` they were drawn from.

    Where episodes differ in ways or shots, those with fewer have ``PAD`` in all five arrays where
    they have nothing.

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

    def take(self, positions: np.ndarray | slice) -> Episodes:
        """Some of the episodes."""
        return Episodes(*(getattr(self, field.name)[positions] for field in fields(self)))

    def rows(self) -> np.ndarray:
        """The images that some episode uses, ascending, each once."""
        every = np.concatenate([self.support.ravel(), self.query.ravel()])
        used = np.zeros(every.max(initial=0) + 1, bool)
        used[every[every >= 0]] = True
        return np.flatnonzero(used)

    def by_shape(self) -> Iterator[tuple[np.ndarray, Episodes]]:
        """Episodes of one shape at a time (equally many ways, support and query images), without
        padding.

        Yields:
            their positions (n,), ascending, and the episodes.
        """
        arrays = [getattr(self, field.name) for field in fields(self)]
        sizes = np.stack([(array >= 0).sum(1) for array in arrays], 1)
        for shape in np.unique(sizes, axis=0):
            positions = np.flatnonzero((sizes == shape).all(1))
            chosen = [array[positions] for array in arrays]
            yield positions, Episodes(*(part[part >= 0].reshape(len(part), -1) for part in chosen))


def sample(
    images: Images,
    *,
    ways: int | str,
    shots: int | str,
    queries: int,
    episodes: int,
    rng: Rng,
    groups: np.ndarray | None = None,
    mode: Mode = "replacement",
    first: int = 0,
) -> Episodes:
    """Episodes ``first`` .. ``first + episodes - 1`` of an endless (or, in a disjoint mode, finite)
    sequence.

    Episode i depends on the arguments but not on ``first`` nor ``episodes``: any part can be drawn
    alone. Within an episode classes are distinct and no image is drawn twice.

    Args:
        images: with labels.
        ways: classes an episode; ``"5-20"``: drawn anew for each episode (Triantafillou et al.
            2020, arXiv 1903.03096, draw them so too).
        shots: support images a class; ``"1-10"``: drawn anew for each class of each episode.
        queries: query images a class.
        groups: int (n_classes,), the group of each class. All classes of an episode are then of one
            group, which is drawn uniformly among those that have enough classes for the most
            ``ways``.
        mode: ``replacement`` draws each episode anew; ``class_disjoint`` uses no class in two
            episodes, ``image_disjoint`` no image (intervals over episodes that share images are too
            narrow: Lafargue, Smith, Smith, Vandenhende, TMLR 2024, arXiv 2409.02850).

    Raises:
        HarnessError: such episodes cannot be drawn; the message says what the limit is.
    """
    try:
        ways, shots = Span.of(ways), Span.of(shots)
    except ValueError as error:
        raise HarnessError(str(error)) from None
    pool = _Pool.of(images, ways.high, shots.high, queries, groups, mode)
    rng = rng.child(
        "episodes", mode, "across" if groups is None else "within", ways.value, shots.value, queries
    )
    draw = _with_replacement if mode == "replacement" else _disjoint
    classes, rows = draw(pool, ways.high, shots.high + queries, mode, first, episodes, rng)
    way = np.tile(np.arange(ways.high), (episodes, 1))
    support, query = rows[:, :, : shots.high], rows[:, :, shots.high :]
    labels = [np.repeat(way, shots.high, 1), np.repeat(way, queries, 1)]
    if not (ways.fixed and shots.fixed):
        taken, given = _sizes(ways, shots, first, episodes, rng)
        gone, unseen = way >= taken[:, None], np.arange(shots.high) >= given[:, :, None]
        classes = np.where(gone, PAD, classes)
        query, support = (
            np.where(gone[:, :, None], PAD, query),
            np.where(gone[:, :, None] | unseen, PAD, support),
        )
        labels = [
            np.where(part.reshape(episodes, -1) < 0, PAD, label)
            for part, label in zip((support, query), labels, strict=True)
        ]
    return Episodes(
        support.reshape(episodes, -1), labels[0], query.reshape(episodes, -1), labels[1], classes
    )


def capacity(
    counts: np.ndarray,
    *,
    ways: int,
    shots: int,
    queries: int,
    mode: Mode,
    groups: np.ndarray | None = None,
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
    def of(
        cls,
        images: Images,
        ways: int,
        shots: int,
        queries: int,
        groups: np.ndarray | None,
        mode: Mode,
    ) -> _Pool:
        if images.labels is None:
            raise HarnessError("episodes need labels, and these images have none")
        if mode not in get_args(Mode):
            raise HarnessError(
                f"unknown mode {mode!r}", hint=f"allowed: {', '.join(get_args(Mode))}"
            )
        if min(ways, shots, queries) < 1:
            raise HarnessError(
                f"ways {ways}, shots {shots}, queries {queries}: each must be at least 1"
            )
        count = np.bincount(images.labels, minlength=images.n_classes)
        if count.min(initial=shots + queries) < shots + queries:
            raise HarnessError(
                f"{shots} shots + {queries} queries need {shots + queries} images a class; "
                f"class {count.argmin()} has {count.min()}"
            )
        groups = np.zeros(len(count), np.int64) if groups is None else groups
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        eligible = [classes for classes in members if len(classes) >= ways]
        if not eligible:
            most = max(map(len, members), default=0)
            raise HarnessError(
                f"{ways} ways, but the largest group has {most} classes"
                if len(members) > 1
                else f"{ways} ways, but there are {most} classes"
            )
        return cls(
            np.argsort(images.labels, kind="stable"), np.cumsum(count) - count, count, eligible
        )


def _with_replacement(
    pool: _Pool, ways: int, size: int, mode: Mode, first: int, episodes: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    return _in_blocks(
        lambda block: _block(pool, ways, size, rng.numpy("block", block)), first, episodes
    )


def _sizes(
    ways: Span, shots: Span, first: int, episodes: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """How many ways each episode has (E,), and how many shots each of its classes (E, most ways)."""

    def drawn(block: int) -> tuple[np.ndarray, np.ndarray]:
        generator = rng.numpy("sizes", block)
        return (
            generator.integers(ways.low, ways.high, BLOCK, endpoint=True),
            generator.integers(shots.low, shots.high, (BLOCK, ways.high), endpoint=True),
        )

    return _in_blocks(drawn, first, episodes)


def _in_blocks(
    drawn: Callable[[int], tuple[np.ndarray, np.ndarray]], first: int, episodes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Episodes ``first`` .. of what is drawn block by block."""
    blocks = range(first // BLOCK, -(-(first + episodes) // BLOCK))
    parts = list(map(drawn, blocks))
    part = slice(first - BLOCK * blocks.start, first - BLOCK * blocks.start + episodes)
    return np.concatenate([one for one, _ in parts])[part], np.concatenate(
        [other for _, other in parts]
    )[part]


def _block(
    pool: _Pool, ways: int, size: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
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

    Floyd's algorithm (Bentley, Floyd, CACM 30(9), 1987) over all rows at once, then a shuffle: the
    work does not grow with the limits.

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
        low, high = (
            (middle, high)
            if np.minimum(portions, middle).sum() >= ways * middle
            else (low, middle - 1)
        )
    return low


def _schedule(portions: np.ndarray, ways: int, generator: np.random.Generator) -> np.ndarray:
    """As many episodes of ``ways`` distinct classes as the portions allow, (E, ways).

    Classes are drawn in proportion to their portions left, except that one with as many portions
    left as there are episodes left must be taken: then the longest schedule is always reached.
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
    parts = [
        classes[_schedule(portions[classes], ways, rng.numpy("schedule", group))]
        for group, classes in enumerate(pool.groups)
    ]
    schedule = rng.numpy("order").permutation(np.concatenate(parts))
    if first + episodes > len(schedule):
        raise HarnessError(
            f"{first + episodes} episodes asked for; {mode} allows at most {len(schedule)} here",
            hint="fewer episodes, ways, shots or queries, or mode: replacement",
        )
    rows = np.empty((*schedule.shape, size), np.int64)
    for label in range(len(pool.count)):
        at = np.nonzero(schedule == label)
        own = pool.order[pool.start[label] : pool.start[label] + pool.count[label]]
        own = rng.numpy("images", label).permutation(own)[: len(at[0]) * size]
        rows[at] = own.reshape(-1, size)
    part = slice(first, first + episodes)
    return schedule[part], rows[part]
