"""Progress displays on stderr: bars on a terminal, elsewhere a line for each finished cell."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from harness.cells.cell import Cell
from harness.cells.estimate import Expected
from harness.execute.time_left import Range, TimeLeft, crowding

REFRESH_S = 1.0
"""Seconds between two looks at the time left, on a terminal."""
QUIET_S = 60.0
"""Seconds after which a log says what is running."""
STEPS = ((15, 1.0), (100, 5.0), (300, 10.0), (1200, 30.0), (3600, 60.0), (36000, 300.0))
"""Durations below the first number are rounded to the second, in seconds."""


def console(progress: bool) -> Console | None:
    """Where Python code shows progress: on stderr; in a notebook, plain lines below its cell.

    Args:
        progress: whether to show it.
    """
    if not progress:
        return None
    in_notebook = Console().is_jupyter
    # Rich would make an output of its own of each line, and Jupyter paints stderr red.
    return Console(stderr=not in_notebook, force_jupyter=False)


@contextlib.contextmanager
def transfer(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show bars of files that are being downloaded.

    Yields:
        A function to call with (file, bytes downloaded, bytes in total).
    """
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    tasks: dict[str, TaskID] = {}

    def report(name: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done)

    try:
        yield report
    finally:
        if tasks:  # bars that were never started would print an empty line
            bars.stop()


def show(
    console: Console, cells: Sequence[Cell], expected: dict[str, Expected], workers: int
) -> Bars | Lines:
    """Return the display that suits the console.

    Args:
        console: where it is shown.
        cells: cells to come.
        expected: cell key -> what is expected of it.
        workers: how many cells run side by side.
    """
    clock = TimeLeft(cells, expected, workers, crowding(workers))
    if console.is_terminal:
        return Bars(console, len(cells), clock)
    return Lines(console, len(cells), clock)


class _Count:
    """What both displays know: the console, how many cells are finished, and the time left.

    Args:
        console: where it is shown.
        total: number of cells to come.
        clock: tells the time left.
    """

    def __init__(self, console: Console, total: int, clock: TimeLeft) -> None:
        self.console = console
        self.total = total
        self.count = 0
        self.clock = clock
        self.cells: dict[int, tuple[Cell, str]] = {}  # worker -> what it computes, and its phase
        self.last = clock.elapsed  # when the time left was shown

    def started(self, worker: int, cell: Cell) -> None:
        """Note the cell of a worker."""
        self.cells[worker] = (cell, "")
        self.clock.started(cell.key)

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Note how far a cell is, and what it is doing."""
        if worker in self.cells:
            cell = self.cells[worker][0]
            self.cells[worker] = (cell, note)
            self.clock.progressed(cell.key, fraction)

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Count the cell and print its line."""
        self.count += 1
        self.cells.pop(worker, None)
        self.clock.finished(cell.key, seconds, counts=error is None)
        width = len(str(self.total))
        line = f"[{self.count:{width}}/{self.total}] {seconds:6.1f} s  {cell.title}"
        remark = self._remark(error)
        style = "red" if error else None
        self._print(f"{line}  ({remark})" if remark else line, style)

    def _remark(self, error: str | None) -> str:
        return f"FAILED: {error}" if error else ""

    def skipped(self, cells: Sequence[Cell]) -> None:
        """Count cells that failed with the one before them, whose line has the error."""
        self.count += len(cells)
        for cell in cells:
            self.clock.finished(cell.key, 0.0, counts=False)
        width = len(str(self.total))
        noun = "cell that needs it" if len(cells) == 1 else "cells that need it"
        self._print(f"[{self.count:{width}}/{self.total}] {'':8}  and {len(cells)} {noun}", "red")

    def warned(self, cell: Cell, warning: str) -> None:
        """Print the warning of a cell, above the bars if there are any."""
        self._print(f"WARNING {cell.learner}: {warning}", "yellow")

    def _print(self, line: str, style: str | None = None) -> None:
        self.console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    def _time_left(self) -> str:
        """The time so far, and the range of the time left."""
        self.last = self.clock.elapsed
        if self.count == self.total:
            return f"{duration(self.clock.elapsed)} in all"
        left = self.clock.range()
        words = "time left not known yet" if left is None else f"{between(left)} left"
        return f"{duration(self.clock.elapsed)} so far, {words}"


class Lines(_Count):
    """A line for each finished cell, with the time left, and one a minute in between."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Note it, and say what is running if no line has been printed for a minute."""
        super().progressed(worker, fraction, note)
        if self.clock.elapsed - self.last < QUIET_S:
            return
        running = "; ".join(f"{cell.title}: {phase}" for cell, phase in self.cells.values())
        width = 2 * len(str(self.total)) + 3
        self._print(f"{'':{width}} {self._time_left()}; running: {running}")

    def _remark(self, error: str | None) -> str:
        if error or self.count == self.total:
            return super()._remark(error) or "last one"
        return self._time_left()


class Bars(_Count):
    """A bar for the run and one for each worker's current cell, below lines of finished cells."""

    def __init__(self, console: Console, total: int, clock: TimeLeft) -> None:
        super().__init__(console, total, clock)
        words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        notes = Column(no_wrap=True, overflow="ellipsis", max_width=max(40, console.width // 2))
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=words),
            BarColumn(bar_width=max(8, min(24, console.width // 8))),
            TextColumn("{task.fields[note]}", markup=False, table_column=notes),
            console=console,
            transient=True,
            expand=True,
        )
        self.all = self.bars.add_task(f"0 of {total} cells", total=total, note=self._time_left())
        self.tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def started(self, worker: int, cell: Cell) -> None:
        """Show the cell on the worker's bar."""
        super().started(worker, cell)
        if worker not in self.tasks:
            self.tasks[worker] = self.bars.add_task("", total=1.0, note="")
        self.bars.reset(self.tasks[worker], description=cell.title, total=1.0, note="")

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Move the worker's bar, and once a second the time left."""
        super().progressed(worker, fraction, note)
        if worker in self.tasks:
            self.bars.update(self.tasks[worker], completed=fraction, note=note)
        if self.clock.elapsed - self.last >= REFRESH_S:
            self.bars.update(self.all, note=self._time_left())

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Count the cell; its line is printed above the bars."""
        super().finished(worker, cell, seconds, error)
        self._advance(1)

    def skipped(self, cells: Sequence[Cell]) -> None:
        """Count the cells; one line for all is printed above the bars."""
        super().skipped(cells)
        self._advance(len(cells))

    def _advance(self, cells: int) -> None:
        description = f"{self.count} of {self.total} cells"
        self.bars.update(self.all, advance=cells, description=description, note=self._time_left())


def duration(seconds: float) -> str:
    """Write seconds in words.

    >>> duration(42), duration(200), duration(7500)
    ('42 s', '3 min 20 s', '2 h 5 min')
    """
    rounded = int(round(seconds))
    if rounded < 60:
        return f"{rounded} s"
    minutes, rest = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def between(seconds: Range) -> str:
    """Write a range in words, its ends rounded outwards.

    >>> between(Range(42, 58)), between(Range(212, 391)), between(Range(0, 130))
    ('40 s - 1 min', '3 min 30 s - 7 min', '0 s - 2 min 10 s')
    >>> between(Range(4100, 9000)), between(Range(0, 0.4))
    ('1 h 5 min - 2 h 30 min', '0 - 1 s')
    """
    ends = rounded(seconds)
    low, high = duration(ends.low), duration(ends.high)
    number, _, unit = low.partition(" ")
    same_unit = high.count(" ") == 1 and high.endswith(f" {unit}")
    return f"{number} - {high}" if same_unit else f"{low} - {high}"


def rounded(seconds: Range) -> Range:
    """A range with its ends rounded outwards to numbers that are easily read."""
    step_low, step_high = _step(seconds.low), _step(seconds.high)
    low = math.floor(seconds.low / step_low) * step_low
    high = math.ceil(seconds.high / step_high) * step_high
    return Range(low, high)


def _step(seconds: float) -> float:
    """What a duration is rounded to: a tenth of it or so."""
    return next((step for limit, step in STEPS if seconds < limit), 3600.0)
