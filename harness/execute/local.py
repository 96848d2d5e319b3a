"""The local executor: cells run in worker processes of this machine, one thread each.

Workers are forked from a server process (see ``harness.execute.forked.server``) and stay for many
cells. A worker writes a cell to the store before it reports that the cell is done.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from pydantic import Field

from harness import registry
from harness.cells.cell import Cell
from harness.cells.run import Conditions
from harness.execute import memory
from harness.execute.base import Event, Executor, executors
from harness.execute.forked import server, worker_process

Likeness = tuple[str, str, str, str]
"""What cells have in common that need the same memory."""


@executors.register("local")
class Local(Executor):
    """Worker processes on this machine."""

    class Config(registry.Config):
        """Options of worker processes."""

        workers: int | None = Field(
            None, ge=1, description="worker processes; one a core if left out"
        )
        memory: float = Field(
            0.0,
            ge=0,
            description="GiB that a cell needs, until a similar cell has been measured",
        )

    config: Config

    def __init__(self, config: Config, conditions: Conditions) -> None:
        super().__init__(config, conditions)
        self.pipes: dict[int, Connection] = {}
        self.processes: dict[int, Any] = {}
        self.cells: dict[int, Cell] = {}  # running, in the order of their start
        self.peaks: dict[Likeness, int] = {}  # most bytes that a cell of that kind has used
        self.reserve = max(2**28, memory.total() // 20)

    @property
    def size(self) -> int:
        """How many cells run side by side."""
        return self.config.workers or default_workers()

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()  # its finished cells are in the store
        for process in self.processes.values():
            process.join()
        for pipe in self.pipes.values():
            pipe.close()

    def idle(self) -> list[int]:
        """Return the workers that have no cell."""
        return [worker for worker in range(self.size) if worker not in self.cells]

    def room(self, worker: int, cell: Cell) -> bool:
        """Report whether a cell fits into memory beside the running ones.

        What a cell needs is what similar cells have used at most.
        """
        if not self.cells:
            return True
        growth = 0
        for each, its_cell in [*self.cells.items(), (worker, cell)]:
            growth += max(0, self._need(its_cell) - self._used(each))
        return memory.available() - self.reserve >= growth

    def start(self, worker: int, cell: Cell) -> None:
        """Give an idle worker a cell."""
        if worker not in self.processes:
            self._spawn(worker)
        self.cells[worker] = cell
        with contextlib.suppress(OSError):  # a dead worker is noticed in receive()
            self.pipes[worker].send(cell)

    def stop(self, worker: int) -> None:
        """Kill a worker; it is spawned again when it gets another cell."""
        process = self.processes.pop(worker)
        process.kill()
        process.join()
        self.pipes.pop(worker).close()
        self.cells.pop(worker, None)

    def receive(self, timeout: float) -> Iterator[tuple[int, Event]]:
        """Yield events as they come."""
        workers = {self.pipes[worker]: worker for worker in self.cells}
        if not workers:
            time.sleep(timeout)
        for pipe in wait(list(workers), timeout) if workers else []:
            worker = workers[pipe]  # type: ignore[index]  # wait() returns what it was given
            event = self._next_event(worker)
            if event.kind not in ("started", "progress"):
                self._note_end(worker, event)
            yield worker, event
        if len(self.cells) > 1 and memory.available() < self.reserve // 2:
            yield self._make_room()

    def _next_event(self, worker: int) -> Event:
        try:
            return self.pipes[worker].recv()
        except (EOFError, OSError):
            return self._clean_up_dead(worker)

    def _note_end(self, worker: int, event: Event) -> None:
        """Remember that a worker is idle, and what its cell has used."""
        cell = self.cells.pop(worker, None)
        if cell is not None and event.peak:
            likeness = _likeness(cell)
            self.peaks[likeness] = max(event.peak, self.peaks.get(likeness, 0))

    def _spawn(self, worker: int) -> None:
        ours, theirs = mp.get_context("forkserver").Pipe()
        surroundings = worker_process.Surroundings.here()
        process = server.spawn(worker_process.main, theirs, self.conditions, surroundings)
        theirs.close()
        self.pipes[worker] = ours
        self.processes[worker] = process

    def _clean_up_dead(self, worker: int) -> Event:
        """Remove a worker that has died, and say what became of its cell."""
        process = self.processes[worker]
        cell = self.cells[worker]
        process.join(5)
        code = process.exitcode or 0
        self.stop(worker)
        if self.conditions.store.done(cell.key):  # it died after it had finished the cell
            return Event("done")
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        guess = "; out of memory?" if code == -signal.SIGKILL else ""
        return Event("failed", text=f"the worker process died ({reason}){guess}")

    def _make_room(self) -> tuple[int, Event]:
        """Stop the cell that started last, before the machine swaps or the kernel intervenes."""
        worker, cell = list(self.cells.items())[-1]
        self.peaks[_likeness(cell)] = max(self._used(worker), self._need(cell))
        self.stop(worker)
        return worker, Event("lost", text="memory ran short")

    def _need(self, cell: Cell) -> int:
        return self.peaks.get(_likeness(cell), int(self.config.memory * 2**30))

    def _used(self, worker: int) -> int:
        return memory.used(self.processes[worker].pid) if worker in self.processes else 0


def _likeness(cell: Cell) -> Likeness:
    """Cells that differ only in their seed need the same memory."""
    return cell.learner, cell.protocol, cell.role, cell.label


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
