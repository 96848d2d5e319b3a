"""One progress display: bars on a terminal, a plain line a finished cell elsewhere. All of it goes to stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType

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

from harness.cells.plan import Cell


@contextlib.contextmanager
def transfer(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Bars of files that are being fetched: what it gives is called with (file, bytes here, bytes in all)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bars, tasks = Progress(*columns, console=console), dict[str, TaskID]()

    def report(name: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done)

    try:
        yield report
    finally:
        if tasks:  # where nothing was fetched not even an empty line is printed
            bars.stop()


def show(console: Console, total: int, expected: dict[str, float], workers: int) -> Bars | Lines:
    """The display that suits the console.

    Args:
        total: number of cells to come.
        expected: cell key -> expected seconds.
        workers: how many cells run side by side.
    """
    return (Bars if console.is_terminal else Lines)(console, total, expected, workers)


class _Clock:
    """Time left, from the expected seconds of what is not finished, corrected by how expectations have held so far."""

    def __init__(self, expected: dict[str, float], workers: int):
        self.expected, self.workers = dict(expected), workers
        self.foreseen = self.spent = 0.0

    def finished(self, key: str, seconds: float) -> None:
        self.foreseen += self.expected.pop(key, 0.0)
        self.spent += seconds

    def expect(self, expected: dict[str, float]) -> None:
        """What is still to come, where that is known better now."""
        self.expected = dict(expected)

    def left(self) -> float:
        trust = min(1.0, self.foreseen / (self.foreseen + sum(self.expected.values()) + 1e-9) * 4)
        factor = 1 + trust * (self.spent / self.foreseen - 1) if self.foreseen > 0 else 1.0
        return factor * sum(self.expected.values()) / self.workers


class Lines:
    """One line a finished cell: position, time, what, and what is left."""

    def __init__(self, console: Console, total: int, expected: dict[str, float], workers: int):
        self.console, self.total, self.count, self.clock = (
            console,
            total,
            0,
            _Clock(expected, workers),
        )

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, worker: int, cell: Cell) -> None:
        """Nothing: a line comes when the cell is finished."""

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Nothing."""

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Print the line."""
        self.count += 1
        self.clock.finished(cell.key, seconds)
        width = len(str(self.total))
        left = (
            f"about {duration(self.clock.left())} left" if self.count < self.total else "last one"
        )
        end = f"FAILED: {error}" if error else left
        line = f"[{self.count:{width}}/{self.total}] {seconds:6.1f} s  {cell.title}  ({end})"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Bars:
    """A bar for the run and one for each worker's current cell."""

    def __init__(self, console: Console, total: int, expected: dict[str, float], workers: int):
        self.console, self.clock, self.start = console, _Clock(expected, workers), time.monotonic()
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self.all = self.bars.add_task("cells", total=total, note="")
        self.tasks: dict[int, int] = {}

    def __enter__(self) -> Bars:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def started(self, worker: int, cell: Cell) -> None:
        """Give the worker's bar its cell."""
        if worker not in self.tasks:
            self.tasks[worker] = self.bars.add_task("", total=1.0, note="")
        self.bars.reset(self.tasks[worker], description=cell.title, total=1.0, note="")

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """Move the worker's bar."""
        if worker in self.tasks:
            self.bars.update(self.tasks[worker], completed=fraction, note=note)

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """Count the cell; a failure is printed above the bars."""
        self.clock.finished(cell.key, seconds)
        self.bars.advance(self.all)
        task = next(t for t in self.bars.tasks if t.id == self.all)
        rate = 60 * task.completed / max(time.monotonic() - self.start, 1e-9)
        note = f"{int(task.completed)}/{int(task.total or 0)}  {rate:.0f} cells/min  about {duration(self.clock.left())} left"
        self.bars.update(self.all, note=note)
        if error:
            self.console.print(f"FAILED {cell.title}: {error}", style="red", markup=False)


def duration(seconds: float) -> str:
    """Seconds in words: ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
