"""Does the stated time left hold the true one? Runs suites and compares, on the machine as it is.

    python tests/benchmarks/time_left.py suites/quickstart.yaml [MORE] [--set KEY=VALUE]

    python tests/benchmarks/time_left.py --recorded STORE [MORE]

Without --store, each suite runs in a new store. HARNESS_TIMES=FILE keeps learned times between
runs; none are kept without it. The stated range is noted every second. Prints the share of the
moments after the first tenth of the run whose range holds the true time left (goal: 80 %), how many
state none, and the median of high over low: a range that is always huge would hold too.

--recorded runs nothing: it replays the longest run of a store, whose cells say when they ended and
how long they took. Cells do not report how far they are, then. --crowd says how many processes
wanted each core, which no store knows.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import Console

from harness.cells import estimate
from harness.cells.cell import Cell
from harness.execute import display, session
from harness.execute.display import Lines, duration, rounded
from harness.execute.session import RunOptions
from harness.execute.time_left import Range, TimeLeft
from harness.storage.store import CellResult, Store

EVERY_S = 1.0
PAUSE_S = 120.0
"""Idle time that separates two runs of a store."""


@dataclass
class Moment:
    """A range as it was stated, seconds after the start."""

    when: float
    stated: Range | None


class Recorded(Lines):
    """A display that notes what it would state."""

    moments: list[Moment]
    ended: float

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Note the range once a second; cells report more often than that."""
        super().progressed(worker, fraction, note)
        self.note()

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Note it when a cell ends, too."""
        super().finished(worker, cell, seconds, error)
        self.ended = self.clock.elapsed
        self.note()

    def note(self) -> None:
        """Note the range unless that was done within the last second."""
        now = self.clock.elapsed
        if self.moments and now - self.moments[-1].when < EVERY_S:
            return
        stated = self.clock.range()
        self.moments.append(Moment(now, stated and rounded(stated)))


def main() -> None:
    """Run the suites that are named and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("suites", nargs="+", type=Path, help="suites, or stores of --recorded")
    parser.add_argument("--recorded", action="store_true")
    parser.add_argument("--crowd", type=float, default=1.0)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--show", action="store_true", help="print every tenth moment")
    words = parser.parse_args()
    os.environ.setdefault("HARNESS_TIMES", "")
    for suite in words.suites:
        if words.recorded:
            replay = Replay(suite, words.workers or 2, words.crowd)
            print(f"{suite}: {replay.verdict(show=words.show)}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            store = words.store or Path(folder) / "store"
            options = RunOptions(store=store, workers=words.workers)
            print(f"{suite}: {measured(suite, options, words.sets, show=words.show)}", flush=True)


def measured(suite: Path, options: RunOptions, sets: list[str], *, show: bool) -> str:
    """Run a suite and compare what was stated with what was true."""
    shown: list[Recorded] = []

    def recorded(console: Console, cells: list[Cell], *expected: object) -> Recorded:
        lines = original(console, cells, *expected)
        lines.__class__ = Recorded
        lines.moments = []
        shown.append(lines)
        return lines

    original, display.show = display.show, recorded
    try:
        with open(os.devnull, "w") as nowhere:
            session.run(suite, options, sets=sets, console=Console(file=nowhere))
    finally:
        display.show = original
    if not shown:
        return "nothing to run"
    return verdict(shown[0].moments, shown[0].ended, shown[0].count, show=show)


class Replay:
    """A run that a store has recorded, whose cells start and end again when they did.

    Args:
        folder: the store.
        workers: that the run had.
        crowd: processes for each core.
    """

    def __init__(self, folder: Path, workers: int, crowd: float) -> None:
        store = Store(folder)
        self.results = _longest_run(dict(store.results(store.finished())))
        cells = [_cell(key, result) for key, result in self.results.items()]
        with tempfile.TemporaryDirectory() as empty:
            expected = estimate.expectations(cells, Store(empty))
        self.now = 0.0
        self.clock = TimeLeft(cells, expected, workers, crowd, now=lambda: self.now)
        self.moments: list[Moment] = []

    def verdict(self, *, show: bool) -> str:
        """Replay all cells, and compare what is stated with what was true."""
        events = []
        began = min(map(_started, self.results.values()))
        for key, result in self.results.items():
            start = _started(result) - began
            events += [(start, 1, key, 0.0), (start + result.wall_s, 0, key, result.wall_s)]
        end = max(events)[0]
        for when, is_start, key, seconds in sorted(events):
            while self.now + EVERY_S < when:
                self._note(self.now + EVERY_S)
            self.now = when
            if is_start:
                self.clock.started(key)
            else:
                self.clock.finished(key, seconds, counts=True)
            if not self.moments or when - self.moments[-1].when >= EVERY_S:
                self._note(when)
        return verdict(self.moments, end, len(self.results), show=show)

    def _note(self, when: float) -> None:
        self.now = when
        stated = self.clock.range()
        self.moments.append(Moment(when, stated and rounded(stated)))


def _started(result: CellResult) -> float:
    return datetime.fromisoformat(result.created).timestamp() - result.wall_s


def _cell(key: str, result: CellResult) -> Cell:
    identity = result.identity
    needs = identity.get("measured") or identity.get("training")
    return Cell(key, identity["role"], identity, needs, identity["learner"]["kind"], "", "")


def _longest_run(results: dict[str, CellResult]) -> dict[str, CellResult]:
    """The most cells without an idle time of PAUSE_S between them."""
    runs: list[dict[str, CellResult]] = []
    end = -math.inf
    for key in sorted(results, key=lambda key: _started(results[key])):
        start = _started(results[key])
        if start > end + PAUSE_S:
            runs.append({})
        runs[-1][key] = results[key]
        end = max(end, start + results[key].wall_s)
    return max(runs, key=len)


def verdict(moments: list[Moment], end: float, cells: int, *, show: bool) -> str:
    """The share of moments that hold, in words."""
    judged = [each for each in moments if each.when > 0.1 * end]
    stated = [each for each in judged if each.stated]
    inside = [each for each in stated if each.stated.low <= end - each.when <= each.stated.high]
    middle = [each.stated for each in stated if each.when < 0.9 * end]
    if show:
        for each in moments[:: max(1, len(moments) // 20)]:
            left = f"{each.stated.low:.0f} - {each.stated.high:.0f}" if each.stated else "none"
            print(f"  {each.when:7.0f} s: {end - each.when:6.0f} s left, stated {left}")
    width = median(each.high / max(each.low, 1.0) for each in middle) if middle else float("nan")
    load = os.getloadavg()[0]
    return (
        f"{cells} cells in {duration(end)}; {len(inside) / len(judged):.0%} of {len(judged)} "
        f"moments hold, {len(judged) - len(stated)} state none, median high/low {width:.1f}; "
        f"load {load:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
