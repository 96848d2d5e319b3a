"""Scheduling: which cell runs when, on any executor.

Cells run after the cells that they need, the longest chain of work first, and each cell once.
Whatever
is killed, and whenever: finished cells are in the store, and the next run computes the rest. Two
runs on one store share the work through the store's locks.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.cells.cell import Cell
from harness.cells.run import POLL_S
from harness.errors import HarnessError
from harness.execute.base import Display, Event, Executor, Outcome, prerequisites
from harness.storage.store import Store

MAX_LOSSES = 6
"""A cell that was lost this often has failed: it may be what takes its nodes down."""
_SKIPPED = {
    "train": "not trained",
    "match": "not matched",
    "measure": "not measured",
    "judge": "not judged",
    "trust": "not checked",
}
_PREREQUISITE = {"train": "training", "match": "match", "measure": "measurement"}


def in_order(cells: list[Cell], expected: Mapping[str, float]) -> list[Cell]:
    """Sort cells so that those with the longest chain of work ahead come first.

    Args:
        cells: in any order.
        expected: key -> expected seconds.

    Returns:
        Cells by their own seconds plus those of the longest chain of cells that need them.
    """
    dependents = _by_prerequisite(cells)
    ahead: dict[str, float] = {}

    def seconds_ahead(cell: Cell) -> float:
        if cell.key not in ahead:
            longest = max(map(seconds_ahead, dependents[cell.key]), default=0.0)
            ahead[cell.key] = expected[cell.key] + longest
        return ahead[cell.key]

    return sorted(cells, key=seconds_ahead, reverse=True)


def _by_prerequisite(cells: list[Cell]) -> dict[str, list[Cell]]:
    """Key of a cell -> the cells that read its result."""
    dependents: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        for key in prerequisites(cell):
            dependents[key].append(cell)
    return dependents


def run(
    cells: list[Cell],
    executor: Executor,
    store: Store,
    display: Display,
    time_limit: float | None = None,
) -> Outcome:
    """Execute cells; each is computed once, here or by another run on the same store.

    Args:
        cells: in the order of preference; cells that they need and that are missing here are in the
            store.
        executor: entered.
        store: where results go.
        display: shows the run.
        time_limit: seconds that one cell may take; one that takes longer is stopped and has failed.

    Raises:
        HarnessError: no further cell could succeed (a full disk, a missing dataset).
    """
    run = _Run(cells, executor, store, display, time_limit)
    run.loop()
    return run.outcome


@dataclass
class _Task:
    """A cell that a worker has; ``since`` is the time when it started, None before that."""

    cell: Cell
    since: float | None = None


class _Run:
    """Which cells are ready, which wait for others, and which are running."""

    def __init__(
        self,
        cells: list[Cell],
        executor: Executor,
        store: Store,
        display: Display,
        time_limit: float | None,
    ) -> None:
        self.executor = executor
        self.store = store
        self.display = display
        self.time_limit = time_limit
        self.outcome = Outcome()
        self.rank = {cell.key: place for place, cell in enumerate(cells)}
        self.cells = {cell.key: cell for cell in cells}
        self.dependents = _by_prerequisite(cells)
        self.missing: dict[str, int] = {}  # key -> prerequisites that are still to be computed
        self.ready: list[tuple[int, str]] = []  # heap of (rank, key)
        self.delayed: list[tuple[float, int, str]] = []  # heap of (when, rank, key)
        self.busy: dict[int, _Task] = {}
        self.losses: Counter[str] = Counter()
        self.warned: set[tuple[str, str]] = set()  # learner, warning
        for cell in cells:
            self.missing[cell.key] = sum(key in self.rank for key in prerequisites(cell))
            if not self.missing[cell.key]:
                self._queue(cell)

    def loop(self) -> None:
        while self.busy or self.ready or self.delayed:
            self._hand_out()
            for worker, event in self.executor.receive(POLL_S):
                self._handle(worker, event)
            self._stop_overdue()

    def _queue(self, cell: Cell) -> None:
        heapq.heappush(self.ready, (self.rank[cell.key], cell.key))

    def _queue_later(self, cell: Cell, delay: float) -> None:
        when = time.monotonic() + delay
        heapq.heappush(self.delayed, (when, self.rank[cell.key], cell.key))

    def _hand_out(self) -> None:
        """Give ready cells to idle workers, in order of rank."""
        while self.delayed and self.delayed[0][0] <= time.monotonic():
            _, _, key = heapq.heappop(self.delayed)
            self._queue(self.cells[key])
        if not self.ready:
            return
        for worker in self.executor.idle():
            if not self.ready:
                return
            _, key = self.ready[0]
            cell = self.cells[key]
            if not self.executor.room(worker, cell):
                return
            heapq.heappop(self.ready)
            self.busy[worker] = _Task(cell)
            self.executor.start(worker, cell)

    def _handle(self, worker: int, event: Event) -> None:
        task = self.busy.get(worker)
        if task is None:
            return
        if event.kind == "started":
            task.since = time.monotonic()
            self.display.started(worker, task.cell)
        elif event.kind == "progress":
            self.display.progressed(worker, event.fraction, event.text)
        elif event.kind == "fatal":
            raise HarnessError(event.text)
        else:
            del self.busy[worker]
            self._settle(worker, task.cell, event)

    def _settle(self, worker: int, cell: Cell, event: Event) -> None:
        """Decide what becomes of a cell that its worker no longer has."""
        if event.kind == "elsewhere":
            self._queue_later(cell, POLL_S)
        elif event.kind == "lost":
            self._retry(worker, cell, event)
        elif event.kind == "failed":
            self._fail(worker, cell, event)
        else:
            self._finish(worker, cell, event)

    def _retry(self, worker: int, cell: Cell, event: Event) -> None:
        self.losses[cell.key] += 1
        losses = self.losses[cell.key]
        if losses < MAX_LOSSES:
            self._queue_later(cell, POLL_S * 2**losses)
        else:
            reason = f"lost {losses} times: {event.text}"
            self._fail(worker, cell, Event("failed", event.seconds, text=reason))

    def _finish(self, worker: int, cell: Cell, event: Event) -> None:
        keys = self.outcome.found if event.kind == "found" else self.outcome.done
        keys.append(cell.key)
        self.display.finished(worker, cell, event.seconds, None)
        if event.text and (cell.learner, event.text) not in self.warned:
            # A measurement repeats the warning of its training.
            self.warned.add((cell.learner, event.text))
            self.display.warned(cell, event.text)
        for dependent in self.dependents[cell.key]:
            self.missing[dependent.key] -= 1
            if not self.missing[dependent.key]:
                self._queue(dependent)

    def _fail(self, worker: int, cell: Cell, event: Event) -> None:
        self.store.write_failure(cell.key, f"{cell.title}\n\n{event.trace or event.text}")
        self.outcome.failed[cell.key] = event.text
        self.display.finished(worker, cell, event.seconds, event.text)
        what = _PREREQUISITE.get(cell.role, cell.role)
        skipped = list(self._skip_dependents(cell.key, f"its {what} failed ({event.text})"))
        if skipped:
            self.display.skipped(skipped)

    def _skip_dependents(self, key: str, reason: str) -> Iterator[Cell]:
        """Fail all cells that need a failed one, directly or through others; yield them."""
        # A trust check needs two cells of one chain: it is skipped once, after its measurement.
        for cell in sorted(self.dependents[key], key=lambda cell: cell.needs != key):
            if cell.key in self.outcome.failed:
                continue
            self.outcome.failed[cell.key] = f"{_SKIPPED.get(cell.role, 'not computed')}: {reason}"
            yield cell
            yield from self._skip_dependents(cell.key, reason)

    def _stop_overdue(self) -> None:
        """Stop cells that have exceeded the time limit and are not in the store by now."""
        if self.time_limit is None:
            return
        now = time.monotonic()
        for worker, task in list(self.busy.items()):
            if task.since is None or now - task.since <= self.time_limit:
                continue
            if self.store.done(task.cell.key):
                continue
            self.executor.stop(worker)
            del self.busy[worker]
            reason = f"stopped: it took longer than the time limit of {self.time_limit:g} s"
            self._fail(worker, task.cell, Event("failed", now - task.since, text=reason))
