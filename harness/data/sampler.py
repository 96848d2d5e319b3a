"""Drawing episodes: which classes and images each one has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from harness.data.base import Images
from harness.data.episodes import PAD, Episodes, Span
from harness.errors import HarnessError
from harness.rng import Rng

Mode = Literal["replacement", "class_disjoint", "image_disjoint"]

BLOCK = 256
"""Episodes drawn from one generator. Every episode depends on it: it must never change."""


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
    min_images: int = 0,
) -> Episodes:
    """Draw episodes ``first`` to ``first + episodes - 1`` of a sequence.

    The sequence is endless with replacement and finite in a disjoint mode. Episode i depends on
    neither ``first`` nor ``episodes``: any part can be drawn alone. Within an episode, classes are
    distinct and no image is drawn twice.

    Args:
        images: the labelled images.
        ways: classes per episode. A range such as ``"5-20"`` is drawn for each episode, as by
            Triantafillou et al. 2020 (arXiv 1903.03096).
        shots: support images per class. A range such as ``"1-10"`` is drawn for each class of each
            episode.
        queries: query images per class.
        episodes: number of episodes.
        rng: source of the draws.
        groups: int (n_classes,), the group of each class. All classes of an episode then belong to
            one group, drawn uniformly among those with enough classes for the most ``ways``.
        mode: ``replacement`` draws each episode independently. ``class_disjoint`` uses no class in
            two episodes, ``image_disjoint`` no image. (Intervals over episodes that share images
            are too narrow: Lafargue et al., TMLR 2024, arXiv 2409.02850.)
        first: number of the first episode.
        min_images: classes with fewer images are left out.

    Raises:
        HarnessError: If such episodes cannot be drawn; the message names the limit.
    """
    try:
        way_span = Span.of(ways)
        shot_span = Span.of(shots)
    except ValueError as error:
        raise HarnessError(str(error)) from None
    most_ways = way_span.high
    most_shots = shot_span.high
    pool = _Pool.of(images, most_ways, most_shots, queries, groups, mode, min_images)
    scope = "across" if groups is None else "within"
    rng = rng.child("episodes", mode, scope, way_span.value, shot_span.value, queries)
    draw = _with_replacement if mode == "replacement" else _disjoint
    classes, rows = draw(pool, most_ways, most_shots + queries, mode, first, episodes, rng)

    way = np.tile(np.arange(most_ways), (episodes, 1))
    drawn = Episodes(
        support=rows[:, :, :most_shots].reshape(episodes, -1),
        support_labels=np.repeat(way, most_shots, 1),
        query=rows[:, :, most_shots:].reshape(episodes, -1),
        query_labels=np.repeat(way, queries, 1),
        classes=classes,
    )
    if way_span.fixed and shot_span.fixed:
        return drawn
    n_ways, n_shots = _draw_sizes(way_span, shot_span, first, episodes, rng)
    return _padded(drawn, n_ways, n_shots)


def _padded(episodes: Episodes, n_ways: np.ndarray, n_shots: np.ndarray) -> Episodes:
    """Cut episodes of the largest size down to their own.

    Args:
        episodes: E episodes of the most ways and shots.
        n_ways: int (E,), the ways of each episode.
        n_shots: int (E, most ways), the shots of each class.
    """
    count, most_ways = n_shots.shape
    most_shots = episodes.support.shape[1] // most_ways
    queries = episodes.query.shape[1] // most_ways
    no_way = np.arange(most_ways) >= n_ways[:, None]
    no_shot = no_way[:, :, None] | (np.arange(most_shots) >= n_shots[:, :, None])
    no_support = no_shot.reshape(count, -1)
    no_query = np.repeat(no_way, queries, 1)
    return Episodes(
        support=np.where(no_support, PAD, episodes.support),
        support_labels=np.where(no_support, PAD, episodes.support_labels),
        query=np.where(no_query, PAD, episodes.query),
        query_labels=np.where(no_query, PAD, episodes.query_labels),
        classes=np.where(no_way, PAD, episodes.classes),
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
    """Compute the most episodes that a mode allows; None if there is no limit.

    Args:
        counts: int (n_classes,), images of each class.
        ways: classes per episode.
        shots: support images per class.
        queries: query images per class.
        mode: as in ``sample``.
        groups: as in ``sample``.

    >>> capacity(np.array([4, 4, 4]), ways=2, shots=1, queries=1, mode="image_disjoint")
    3
    """
    if mode == "replacement":
        return None
    portions = _portions(counts, shots + queries, mode)
    if groups is None:
        return _longest(portions, ways)
    return sum(_longest(portions[groups == group], ways) for group in np.unique(groups))


@dataclass(frozen=True)
class _Pool:
    """Images by class, and classes by group.

    Attributes:
        order: rows sorted by class; those of class c are ``order[start[c] : start[c] + count[c]]``.
        start: int (n_classes,).
        count: int (n_classes,).
        groups: the classes of each group that has enough of them.
    """

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
        min_images: int,
    ) -> _Pool:
        """Sort images by class, after checking that the episodes can be drawn."""
        labels = images.known_labels
        count = np.bincount(labels, minlength=images.n_classes)
        large = np.flatnonzero(count >= min_images)
        _check_request(count, large, ways, shots, queries, mode)
        if groups is None:
            members = [large]
        else:
            members = [large[groups[large] == group] for group in np.unique(groups)]
        eligible = [classes for classes in members if len(classes) >= ways]
        if not eligible:
            most = max(map(len, members), default=0)
            place = "the largest group has" if len(members) > 1 else "there are"
            raise HarnessError(f"{ways} ways, but {place} {most} classes")
        order = np.argsort(labels, kind="stable")
        return cls(order, np.cumsum(count) - count, count, eligible)


def _check_request(
    count: np.ndarray, classes: np.ndarray, ways: int, shots: int, queries: int, mode: Mode
) -> None:
    if mode not in get_args(Mode):
        raise HarnessError(f"unknown mode {mode!r}", hint=f"allowed: {', '.join(get_args(Mode))}")
    if min(ways, shots, queries) < 1:
        raise HarnessError(
            f"ways {ways}, shots {shots}, queries {queries}: each must be at least 1"
        )
    needed = shots + queries
    if count[classes].min(initial=needed) < needed:
        smallest = classes[count[classes].argmin()]
        raise HarnessError(
            f"{shots} shots + {queries} queries need {needed} images a class; "
            f"class {smallest} has {count[smallest]}"
        )


def _with_replacement(
    pool: _Pool, ways: int, size: int, mode: Mode, first: int, episodes: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """Draw each episode independently: classes (E, ways) and rows (E, ways, size)."""

    def draw(block: int) -> tuple[np.ndarray, np.ndarray]:
        return _draw_block(pool, ways, size, rng.numpy("block", block))

    return _in_blocks(draw, first, episodes)


def _draw_sizes(
    ways: Span, shots: Span, first: int, episodes: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the ways of each episode (E,) and the shots of each of its classes (E, most ways)."""

    def draw(block: int) -> tuple[np.ndarray, np.ndarray]:
        generator = rng.numpy("sizes", block)
        n_ways = generator.integers(ways.low, ways.high, BLOCK, endpoint=True)
        n_shots = generator.integers(shots.low, shots.high, (BLOCK, ways.high), endpoint=True)
        return n_ways, n_shots

    return _in_blocks(draw, first, episodes)


def _in_blocks(
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]], first: int, episodes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the blocks that cover episodes ``first`` to ``first + episodes - 1``, and cut them out.

    Args:
        draw: draws two arrays of BLOCK episodes, by number of the block.
        first: number of the first episode.
        episodes: number of episodes.
    """
    first_block = first // BLOCK
    last_block = -(-(first + episodes) // BLOCK)
    parts = [draw(block) for block in range(first_block, last_block)]
    offset = first - BLOCK * first_block
    wanted = slice(offset, offset + episodes)
    one = np.concatenate([part for part, _ in parts])
    other = np.concatenate([part for _, part in parts])
    return one[wanted], other[wanted]


def _draw_block(
    pool: _Pool, ways: int, size: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw BLOCK episodes: classes (BLOCK, ways) and rows (BLOCK, ways, size)."""
    group_sizes = np.array([len(classes) for classes in pool.groups])
    group_starts = np.cumsum(group_sizes) - group_sizes
    group = (generator.random(BLOCK) * len(pool.groups)).astype(np.int64)
    member = _distinct(group_sizes[group], ways, generator)
    classes = np.concatenate(pool.groups)[group_starts[group, None] + member]
    flat = classes.ravel()
    rank = _distinct(pool.count[flat], size, generator)
    rows = pool.order[pool.start[flat, None] + rank]
    return classes, rows.reshape(BLOCK, ways, size)


def _distinct(limits: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """For each of R rows, draw k distinct integers below its limit.

    Every ordered choice is equally likely. This is Floyd's algorithm (Bentley, Floyd, CACM 30(9),
    1987) over all rows at once, then a shuffle: the work does not grow with the limits.

    Args:
        limits: int (R,), each at least k.
        k: integers per row.
        generator: source of the draws.

    Returns:
        int64 (R, k).
    """
    uniform = generator.random((k, len(limits)))
    chosen = np.empty((k, len(limits)), np.int64)
    for i in range(k):
        last = limits - k + i
        candidate = (uniform[i] * (last + 1)).astype(np.int64)
        is_taken = (chosen[:i] == candidate).any(0)
        chosen[i] = np.where(is_taken, last, candidate)
    shuffle = generator.random((len(limits), k)).argsort(1, kind="stable")
    return np.take_along_axis(chosen.T, shuffle, 1)


def _portions(counts: np.ndarray, size: int, mode: Mode) -> np.ndarray:
    """The number of episodes that each class can be in."""
    return np.ones_like(counts) if mode == "class_disjoint" else counts // size


def _longest(portions: np.ndarray, ways: int) -> int:
    """The most episodes of ``ways`` distinct classes.

    It is the largest E with sum(min(portions, E)) >= ways * E, found by bisection.
    """
    low = 0
    high = int(portions.sum()) // ways
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(portions, middle).sum() >= ways * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _schedule(portions: np.ndarray, ways: int, generator: np.random.Generator) -> np.ndarray:
    """Draw as many episodes of ``ways`` distinct classes as the portions allow, (E, ways).

    Classes are drawn in proportion to their portions left. A class with as many portions left as
    there are episodes left must be drawn: this way the longest schedule is always reached.
    """
    left = portions.copy()
    length = _longest(portions, ways)
    schedule = np.empty((length, ways), np.int64)
    for i in range(length):
        with np.errstate(divide="ignore"):
            # The smallest of exponential variables is drawn in proportion to their rates.
            key = generator.exponential(size=len(left)) / left
        must = left >= length - i
        if must.sum() <= ways:
            key[must] = -1.0
        drawn = np.argsort(key, kind="stable")[:ways]
        schedule[i] = generator.permutation(drawn)
        left[schedule[i]] -= 1
    return schedule


def _disjoint(
    pool: _Pool, ways: int, size: int, mode: Mode, first: int, episodes: int, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the whole schedule and cut out its part: classes (E, ways) and rows (E, ways, size)."""
    portions = _portions(pool.count, size, mode)
    parts = []
    for group, classes in enumerate(pool.groups):
        members = _schedule(portions[classes], ways, rng.numpy("schedule", group))
        parts.append(classes[members])
    schedule = rng.numpy("order").permutation(np.concatenate(parts))
    if first + episodes > len(schedule):
        raise HarnessError(
            f"{first + episodes} episodes requested; {mode} allows at most {len(schedule)} here",
            hint="fewer episodes, ways, shots or queries, or mode: replacement",
        )
    rows = np.empty((*schedule.shape, size), np.int64)
    for label, (start, count) in enumerate(zip(pool.start, pool.count, strict=True)):
        places = np.nonzero(schedule == label)
        own = pool.order[start : start + count]
        shuffled = rng.numpy("images", label).permutation(own)
        used = shuffled[: len(places[0]) * size]
        rows[places] = used.reshape(-1, size)
    wanted = slice(first, first + episodes)
    return schedule[wanted], rows[wanted]
