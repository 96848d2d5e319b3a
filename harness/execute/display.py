"""Progress displays on stderr: bars on a terminal, elsewhere a line for each finished cell."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
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

from harness.cells.cell import Cell


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


def show(console: Console, total: int, expected: dict[str, float], workers: int) -> Bars | Lines:
    """Return the display that suits the console.

    Args:
        console: where it is shown.
        total: number of cells to come.
        expected: cell key -> expected seconds.
        workers: how many cells run side by side.
    """
    if console.is_terminal:
        return Bars(console, total, expected, workers)
    return Lines(console, total, expected, workers)


class _Clock:
    """Estimates the time left from the expected seconds of unfinished cells.

    The estimate is corrected by how long finished cells took, compared with what was expected.
    """

    def __init__(self, expected: dict[str, float], workers: int) -> None:
        self.expected = dict(expected)
        self.workers = workers
        self.foreseen = 0.0
        self.spent = 0.0

    def finished(self, key: str, seconds: float) -> None:
        self.foreseen += self.expected.pop(key, 0.0)
        self.spent += seconds

    def expect(self, expected: dict[str, float]) -> None:
        """Replace the expectations for the cells that are still to come."""
        self.expected = dict(expected)

    def left(self) -> float:
        remaining = sum(self.expected.values())
        factor = 1.0
        if self.foreseen > 0:
            # The correction counts in full once a quarter of the expected time has passed.
            share = self.foreseen / (self.foreseen + remaining + 1e-9)
            trust = min(1.0, share * 4)
            factor = 1 + trust * (self.spent / self.foreseen - 1)
        return factor * remaining / self.workers


class _Count:
    """What both displays know: the console, how many cells are finished, and the time left.

    Args:
        console, total, expected, workers: see ``show``.
    """

    def __init__(
        self, console: Console, total: int, expected: dict[str, float], workers: int
    ) -> None:
        self.console = console
        self.total = total
        self.count = 0
        self.clock = _Clock(expected, workers)

    def _finish(self, cell: Cell, seconds: float) -> None:
        self.count += 1
        self.clock.finished(cell.key, seconds)

    def warned(self, cell: Cell, warning: str) -> None:
        """Print the warning of a cell, above the bars if there are any."""
        line = f"WARNING {cell.learner}: {warning}"
        self.console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def _time_left(self) -> str:
        return f"about {duration(self.clock.left())} left"


class Lines(_Count):
    """A line for each finished cell: its position, time and title, and the time left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, worker: int, cell: Cell) -> None:
        """Show nothing: a line is printed when the cell is finished."""

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Show nothing."""

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Print the line of a cell."""
        self._finish(cell, seconds)
        if error:
            remark = f"FAILED: {error}"
        elif self.count < self.total:
            remark = self._time_left()
        else:
            remark = "last one"
        width = len(str(self.total))
        line = f"[{self.count:{width}}/{self.total}] {seconds:6.1f} s  {cell.title}  ({remark})"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Bars(_Count):
    """A bar for the run and one for each worker's current cell."""

    def __init__(
        self, console: Console, total: int, expected: dict[str, float], workers: int
    ) -> None:
        super().__init__(console, total, expected, workers)
        self.start = time.monotonic()
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self.all = self.bars.add_task("cells", total=total, note="")
        self.tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def started(self, worker: int, cell: Cell) -> None:
        """Show the cell on the worker's bar."""
        if worker not in self.tasks:
            self.tasks[worker] = self.bars.add_task("", total=1.0, note="")
        self.bars.reset(self.tasks[worker], description=cell.title, total=1.0, note="")

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Move the worker's bar."""
        if worker in self.tasks:
            self.bars.update(self.tasks[worker], completed=fraction, note=note)

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Count the cell; a failure is printed above the bars."""
        self._finish(cell, seconds)
        minutes = max(time.monotonic() - self.start, 1e-9) / 60
        parts = [
            f"{self.count}/{self.total}",
            f"{self.count / minutes:.0f} cells/min",
            self._time_left(),
        ]
        self.bars.update(self.all, advance=1, note="  ".join(parts))
        if error:
            self.console.print(f"FAILED {cell.title}: {error}", style="red", markup=False)


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
    return f"{hours} h {minutes} min"
