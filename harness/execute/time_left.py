"""How long a run still takes, as a range: from what was expected and from what has happened so far.

The time of a cell is taken as its expected time times a factor, of which finished cells tell
(``harness.execute.factors``); recent ones count more, since load changes. Draws from what is left
give the total, hence its quantiles.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.cells.cell import Cell
from harness.cells.estimate import Expected, Likeness
from harness.execute.base import prerequisites
from harness.execute.factors import Kind, Machine, Sample, drawn, own_doubt

DRAWS = 100
"""Futures that are drawn; quantiles of them are stated."""
INSIDE = (0.15, 0.85)
MACHINE = 0.4
"""Doubt about the speed of this machine before any cell has finished, as a standard deviation of
log seconds; so are the others."""
LOAD = 0.15
"""Doubt about how busy the machine will be."""
OVERDUE = 0.7
"""Doubt about a cell that has exceeded its estimate: the longer it has taken, the longer it may."""
TOO_WIDE = 6.0
"""A range over more than this factor, and wider than the time so far, is not stated."""
REPORTED = 0.03
"""Fraction of a cell from which its own report counts."""
UNEVEN = 0.35
"""Doubt about the report of a cell that has just started."""
PATIENCE = 50
"""A range is stated again until this many times what it took to compute has passed."""
SHORT_S = 0.1
"""Added to seconds where they are compared: ratios of shorter cells say nothing of the machine."""
LEAST_S = 0.02
"""Seconds that any cell takes."""
MEMORY_S = 60.0
"""Age at which a finished cell counts half, at least; it grows with the run."""
NOMINAL_S = 2.0
"""Seconds for which the nominal number of workers counts as observed."""


@dataclass(frozen=True)
class Range:
    """Seconds that are left: most likely between ``low`` and ``high``."""

    low: float
    high: float


@dataclass
class _Running:
    since: float
    fraction: float = 0.0


def crowding(workers: int) -> float:
    """Processes that want each core of this machine now, once some workers have joined them."""
    try:
        others = os.getloadavg()[0]
    except (AttributeError, OSError):  # not on every system
        others = 0.0
    return (others + workers) / (os.cpu_count() or 1)


class TimeLeft:
    """The time that a run still takes.

    Args:
        cells: cells to come.
        expected: key -> expectation; all keys of ``cells``.
        workers: how many cells run side by side.
        crowd: processes for each core, those of the run included; see ``crowding``.
        now: clock, in seconds.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        expected: Mapping[str, Expected],
        workers: int,
        crowd: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workers = workers
        # Guesses are for an idle machine; known times may be those of a busy one already.
        crowded = math.log(max(1.0, crowd))
        guessed = [each.basis == "guess" for each in expected.values()]
        share = 0.3 + 0.2 * sum(guessed) / max(1, len(guessed))
        self.machine = Machine(share * crowded, math.hypot(MACHINE, 0.3 * crowded))
        self.now = now
        self.began = now()
        self.first: float | None = None  # when the first cell started
        self.busy = 0.0  # seconds that workers have spent on cells that are over
        self.running: dict[str, _Running] = {}
        self.ratios: dict[Likeness, list[tuple[float, float]]] = defaultdict(list)
        self.kinds: dict[Likeness, Kind] = {}
        self._latest: tuple[float, float, Range | None] = (-math.inf, 0.0, None)
        self.expect(cells, expected)
        self.trusted = any(each.doubt < 1.0 for each in expected.values())

    def expect(self, cells: Iterable[Cell], expected: Mapping[str, Expected]) -> None:
        """Replace the cells that are still to come, and what is expected of them."""
        self.expected = dict(expected)
        kinds = {each.like: Kind(each.doubt, each.group) for each in expected.values()}
        self.kinds = kinds | self.kinds
        self.dependents: dict[str, list[str]] = defaultdict(list)
        for cell in cells:
            for key in prerequisites(cell):
                self.dependents[key].append(cell.key)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.now() - self.began

    def started(self, key: str) -> None:
        """A worker has started a cell."""
        if self.first is None:
            self.first = self.now()
        self.running[key] = _Running(self.now())

    def progressed(self, key: str, fraction: float) -> None:
        """A worker has computed this fraction of its cell."""
        if key in self.running:
            self.running[key].fraction = fraction

    def finished(self, key: str, seconds: float, *, counts: bool) -> None:
        """A cell is over.

        Args:
            key: of the cell.
            seconds: that it took; 0 if another run computed it, or if it was skipped.
            counts: whether it was computed to the end, so that its time tells of others.
        """
        was = self.running.pop(key, None)
        expected = self.expected.pop(key, None)
        if was is not None:
            self.busy += self.now() - was.since
        if expected is None or not counts:
            return
        if seconds > 0:
            ratio = math.log((seconds + SHORT_S) / (expected.seconds + SHORT_S))
            self.ratios[expected.like].append((self.elapsed, ratio))
        elif was is None and self.first is not None:
            self.busy += expected.seconds  # another run shares the work

    # ---------------------------------------------------------------------------------- the range

    def range(self) -> Range | None:
        """The range of the time left; None while nothing is known of it."""
        when, cost, known = self._latest
        if self.elapsed - when < PATIENCE * cost:
            return known
        start = time.perf_counter()
        known = self._known()
        self._latest = (self.elapsed, time.perf_counter() - start, known)
        return known

    def _known(self) -> Range | None:
        reported = any(each.fraction > REPORTED for each in self.running.values())
        if not (self.trusted or self.ratios or reported):
            return None
        bounds = self.bounds()
        too_wide = bounds.high > TOO_WIDE * bounds.low and bounds.high - bounds.low > self.elapsed
        return None if too_wide else bounds

    def bounds(self) -> Range:
        """The range, however wide it is."""
        if not self.expected:
            return Range(0.0, 0.0)
        draws = np.random.default_rng(0)  # the same draws every time, so that ranges do not jitter
        total = self._totals(draws) * np.exp(LOAD * draws.standard_normal(DRAWS))
        low, high = np.quantile(total, INSIDE)
        return Range(float(low), float(high))

    def _totals(self, draws: np.random.Generator) -> np.ndarray:
        """Seconds until all cells are over, (DRAWS,)."""
        samples = self._samples()
        own = own_doubt(samples.values())
        factors = drawn(self.machine, self.kinds, samples, draws, DRAWS)
        alike: dict[Likeness, list[str]] = defaultdict(list)
        for key, expected in self.expected.items():
            alike[expected.like].append(key)
        left: dict[str, np.ndarray] = {}
        for like, keys in alike.items():
            seconds = np.array([self.expected[key].seconds for key in keys])
            log_seconds = np.log(seconds + SHORT_S)[:, None] + factors[like]
            log_seconds += own * draws.standard_normal(log_seconds.shape)
            seconds = np.maximum(np.exp(log_seconds) - SHORT_S, LEAST_S)
            left |= dict(zip(keys, seconds, strict=True))
        for key in [key for key in self.running if key in left]:
            left[key] = self._left_of(self.running[key], np.log(left[key]), own, draws)
        work = np.sum(list(left.values()), axis=0)
        return np.maximum(work / self._at_once(), self._longest_chain(left))

    def _left_of(
        self, running: _Running, log_seconds: np.ndarray, own: float, draws: np.random.Generator
    ) -> np.ndarray:
        """What a running cell still takes, given draws of what it takes in all; (DRAWS,)."""
        elapsed = max(self.now() - running.since, 1e-3)
        overdue = OVERDUE
        if running.fraction > REPORTED and elapsed > 1.0:
            # Its own report: progress is rarely even, least of all at its beginning.
            overdue = UNEVEN * (1 - running.fraction) + 0.02
            total = math.log(elapsed / running.fraction)
            reported = total + overdue * draws.standard_normal(DRAWS)
            before = float(np.var(log_seconds)) + own**2
            log_seconds = log_seconds + before / (before + overdue**2) * (reported - log_seconds)
        left = np.exp(log_seconds) - elapsed
        longer = elapsed * np.expm1(overdue * np.abs(draws.standard_normal(DRAWS)))
        return np.where(left > 0, left, longer)

    def _longest_chain(self, left: Mapping[str, np.ndarray]) -> np.ndarray:
        """The longest sum of seconds over cells that need each other, (DRAWS,)."""
        chains: dict[str, np.ndarray] = {}

        def chain(key: str) -> np.ndarray:
            after = [other for other in self.dependents.get(key, ()) if other in left]
            if not after:
                return left[key]
            if key not in chains:
                chains[key] = left[key] + np.max([chain(other) for other in after], axis=0)
            return chains[key]

        longest: np.ndarray = np.max([chain(key) for key in left], axis=0)
        return longest

    def _at_once(self) -> float:
        """How many cells have really run side by side, on average."""
        if self.first is None:
            return float(self.workers)
        now = self.now()
        busy = self.busy + sum(now - each.since for each in self.running.values())
        return max(0.5, (busy + NOMINAL_S * self.workers) / (now - self.first + NOMINAL_S))

    def _samples(self) -> dict[Likeness, Sample]:
        """The ratios of each likeness. A running cell that is overdue counts as half a cell."""
        latest = max((when for pairs in self.ratios.values() for when, _ in pairs), default=0.0)
        half = max(MEMORY_S, latest / 3)
        points: dict[Likeness, list[tuple[float, float]]] = defaultdict(list)
        for like, pairs in self.ratios.items():
            points[like] = [(ratio, 0.5 ** ((latest - when) / half)) for when, ratio in pairs]
        for key, running in self.running.items():
            expected = self.expected.get(key)
            elapsed = self.now() - running.since
            if expected is not None and elapsed > expected.seconds + SHORT_S:
                seconds = elapsed * 1.2
                if running.fraction > REPORTED:
                    seconds = elapsed / running.fraction
                points[expected.like].append((math.log(seconds / expected.seconds), 0.5))
        return {like: Sample.of(pairs) for like, pairs in points.items()}
