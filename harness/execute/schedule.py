"""Which cell runs when, on any executor: training before measuring, the longest way to the end first, each cell once.

Whatever is killed, and whenever: finished cells are in the store, and the rest is computed by the next run. Two runs on one
store share the work through the store's locks.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from harness.cells.plan import Cell
from harness.cells.run import POLL_S
from harness.errors import HarnessError
from harness.execute.base import Display, Event, Executor, Outcome
from harness.storage.store import Store

LOSSES = 6
"""A cell that was lost that often (with its node, for want of memory) has failed: it may be what takes them down."""


def in_order(cells: list[Cell], expected: Mapping[str, float]) -> list[Cell]:
    """The cell that most work depends on first: its own seconds and those of the longest that waits for it."""
    behind: dict[str, float] = defaultdict(float)
    for cell in cells:
        if cell.needs:
            behind[cell.needs] = max(behind[cell.needs], expected[cell.key])
    return sorted(cells, key=lambda cell: -(expected[cell.key] + behind[cell.key]))


def run(
    cells: list[Cell],
    executor: Executor,
    store: Store,
    display: Display,
    time_limit: float | None = None,
) -> Outcome:
    """Execute cells. Each is computed once, here or by another run on the same store.

    Args:
        cells: in the order in which they are wanted; training that is not among them is in the store.
        executor: entered.
        time_limit: seconds that one cell may take; one that takes longer is stopped and has failed.

    Raises:
        HarnessError: an error that no further cell would survive either (a full disk, a missing dataset).
    """
    work = _Run(cells, executor, store, display, time_limit)
    work.loop()
    return work.outcome


@dataclass
class _Work:
    cell: Cell
    since: float | None = None
    """When it started; None while it has not."""


class _Run:
    """Which cells are ready, which wait for their training, which are under way."""

    def __init__(
        self,
        cells: list[Cell],
        executor: Executor,
        store: Store,
        display: Display,
        time_limit: float | None,
    ):
        self.executor, self.store, self.display, self.limit, self.outcome = (
            executor,
            store,
            display,
            time_limit,
            Outcome(),
        )
        self.rank = {cell.key: place for place, cell in enumerate(cells)}
        self.cells = {cell.key: cell for cell in cells}
        self.waiting: dict[str, list[Cell]] = defaultdict(
            list
        )  # key of a training cell -> those that need it
        self.ready: list[tuple[int, str]] = []  # heap of (rank, key)
        self.later: list[tuple[float, int, str]] = []  # heap of (when, rank, key)
        self.busy: dict[int, _Work] = {}
        self.losses: Counter[str] = Counter()
        for cell in cells:
            if cell.needs in self.rank:
                self.waiting[cell.needs].append(cell)
            else:
                self._queue(cell)

    def loop(self) -> None:
        while self.busy or self.ready or self.later:
            self._hand_out()
            for worker, event in self.executor.receive(POLL_S):
                self._handle(worker, event)
            self._stop_late()

    def _queue(self, cell: Cell) -> None:
        heapq.heappush(self.ready, (self.rank[cell.key], cell.key))

    def _hand_out(self) -> None:
        while self.later and self.later[0][0] <= time.monotonic():
            self._queue(self.cells[heapq.heappop(self.later)[2]])
        if not self.ready:
            return
        for worker in self.executor.idle():
            if not self.ready or not self.executor.room(
                worker, cell := self.cells[self.ready[0][1]]
            ):
                return
            heapq.heappop(self.ready)
            self.busy[worker] = _Work(cell)
            self.executor.start(worker, cell)

    def _handle(self, worker: int, event: Event) -> None:
        work = self.busy.get(worker)
        if work is None:
            return
        if event.kind == "started":
            work.since = time.monotonic()
            self.display.started(worker, work.cell)
        elif event.kind == "progress":
            self.display.progressed(worker, event.fraction, event.text)
        elif event.kind == "fatal":
            raise HarnessError(event.text)
        else:
            del self.busy[worker]
            self._settle(worker, work.cell, event)

    def _settle(self, worker: int, cell: Cell, event: Event) -> None:
        if event.kind == "elsewhere":
            self._again(cell, POLL_S)
        elif event.kind == "lost":
            self.losses[cell.key] += 1
            if self.losses[cell.key] < LOSSES:
                self._again(cell, POLL_S * 2 ** self.losses[cell.key])
            else:
                self._fail(worker, cell, event.seconds, f"lost {LOSSES} times: {event.text}")
        elif event.kind == "failed":
            self._fail(worker, cell, event.seconds, event.text, event.trace)
        else:
            (self.outcome.found if event.kind == "found" else self.outcome.done).append(cell.key)
            self.display.finished(worker, cell, event.seconds, None)
            for dependent in self.waiting.pop(cell.key, []):
                self._queue(dependent)

    def _again(self, cell: Cell, delay: float) -> None:
        heapq.heappush(self.later, (time.monotonic() + delay, self.rank[cell.key], cell.key))

    def _fail(self, worker: int, cell: Cell, seconds: float, why: str, trace: str = "") -> None:
        """A failed training takes down what it was for."""
        if worker >= 0:
            self.store.write_failure(cell.key, f"{cell.title}\n\n{trace or why}")
        self.outcome.failed[cell.key] = why
        self.display.finished(worker, cell, seconds, why)
        for dependent in self.waiting.pop(cell.key, []):
            self._fail(-1, dependent, 0.0, f"not measured: its training failed ({why})")

    def _stop_late(self) -> None:
        if self.limit is None:
            return
        now = time.monotonic()
        for worker, work in list(self.busy.items()):
            if (
                work.since is not None
                and now - work.since > self.limit
                and not self.store.done(work.cell.key)
            ):
                self.executor.stop(worker)
                del self.busy[worker]
                why = f"stopped: it took longer than the time limit of {self.limit:g} s"
                self._fail(worker, work.cell, now - work.since, why)
