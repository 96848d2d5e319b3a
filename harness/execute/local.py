"""Cells on worker processes of this machine, one thread each.

Workers are forked from a server process that has imported what they need, so that the second costs milliseconds and shares
the memory of the first, and they stay for many cells. A worker computes a cell and stores it before it says so.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import shutil
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

from pydantic import Field

from harness import registry
from harness.cells.plan import Cell
from harness.cells.run import Conditions
from harness.errors import StoreError
from harness.execute import memory, work
from harness.execute.base import Event, Executor, executors
from harness.execute.signals import answered

PRELOADED = ["harness.execute.preload", __name__]
DYING_S = 30.0
"""Longer than it takes a process that was killed to be gone."""


@executors.register("local")
class Local(Executor):
    """Worker processes on this machine."""

    class Config(registry.Config):
        """What can be said of them."""

        workers: int | None = Field(
            None, ge=1, description="worker processes; one a core if left out"
        )
        memory: float = Field(
            0.0,
            ge=0,
            description="GiB that a cell needs, as long as no like cell has been measured",
        )

    def __init__(self, config: Config, conditions: Conditions):
        super().__init__(config, conditions)
        self.context = mp.get_context("forkserver")
        self.pipes: dict[int, Connection] = {}
        self.processes: dict[int, Any] = {}
        self.cells: dict[int, Cell] = {}  # under way, in the order of their start
        self.peaks: dict[tuple, int] = {}  # what cells are like -> bytes that one has used at most
        self.reserve = max(2**28, memory.total() // 20)

    @property
    def size(self) -> int:
        return self.config.workers or default_workers()

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()  # what it has finished is in the store
        for process in self.processes.values():
            process.join()
        for pipe in self.pipes.values():
            pipe.close()

    def idle(self) -> list[int]:
        return [worker for worker in range(self.size) if worker not in self.cells]

    def room(self, worker: int, cell: Cell) -> bool:
        """Whether it will fit into memory beside those under way, as far as like cells have shown."""
        if not self.cells:
            return True
        growth = sum(
            max(0, self._need(cell) - self._used(who))
            for who, cell in [*self.cells.items(), (worker, cell)]
        )
        return memory.available() - self.reserve >= growth

    def start(self, worker: int, cell: Cell) -> None:
        if worker not in self.processes:
            self._spawn(worker)
        self.cells[worker] = cell
        with contextlib.suppress(OSError):  # a dead worker is noticed in receive()
            self.pipes[worker].send(cell)

    def stop(self, worker: int) -> None:
        process = self.processes.pop(worker)
        process.kill()
        process.join()
        self.pipes.pop(worker).close()
        self.cells.pop(worker, None)

    def receive(self, timeout: float) -> Iterator[tuple[int, Event]]:
        by_pipe = {self.pipes[worker]: worker for worker in self.cells}
        if not by_pipe:
            time.sleep(timeout)
        for pipe in wait(list(by_pipe), timeout) if by_pipe else []:
            worker = by_pipe[pipe]
            try:
                event = pipe.recv()
            except (EOFError, OSError):
                event = self._bury(worker)
            if event.kind not in ("started", "progress"):
                cell = self.cells.pop(worker, None)
                if cell and event.peak:
                    self.peaks[_likeness(cell)] = max(
                        event.peak, self.peaks.get(_likeness(cell), 0)
                    )
            yield worker, event
        if len(self.cells) > 1 and memory.available() < self.reserve // 2:
            yield self._make_room()

    def _spawn(self, worker: int) -> None:
        _start_server()
        ours, theirs = self.context.Pipe()
        place = dict(os.environ), Path.cwd(), get_temp_dir()
        process = self.context.Process(
            target=_work, args=(theirs, self.conditions, *place), daemon=True
        )
        # The new process inherits it: Ctrl-C is not its to answer.
        with _without_main(), answered(signal.SIGINT, signal.SIG_IGN):
            _fork(process)
        theirs.close()
        self.pipes[worker], self.processes[worker] = ours, process

    def _bury(self, worker: int) -> Event:
        process, cell = self.processes[worker], self.cells[worker]
        process.join(5)
        code = process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        guess = "; out of memory?" if code == -signal.SIGKILL else ""
        self.stop(worker)
        if self.conditions.store.done(cell.key):  # it got that far
            return Event("done")
        return Event("failed", text=f"the worker process died ({how}){guess}")

    def _make_room(self) -> tuple[int, Event]:
        """Stop the cell that started last, before the machine swaps or the kernel chooses."""
        worker, cell = list(self.cells.items())[-1]
        self.peaks[_likeness(cell)] = max(self._used(worker), self._need(cell))
        self.stop(worker)
        return worker, Event("lost", text="memory ran short")

    def _need(self, cell: Cell) -> int:
        return self.peaks.get(_likeness(cell), int(self.config.memory * 2**30))

    def _used(self, worker: int) -> int:
        return memory.used(self.processes[worker].pid) if worker in self.processes else 0


def _likeness(cell: Cell) -> tuple:
    """Cells that differ in their seed alone need the same memory."""
    return cell.learner, cell.protocol, cell.role, cell.label


def _work(
    pipe: Connection,
    conditions: Conditions,
    environment: dict[str, str],
    folder: Path,
    temporary: str,
) -> None:
    """A worker's life: take a cell, compute it, say so."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent(temporary)
    os.environ.clear()  # the server's are those of the first run in this process
    os.environ.update({**environment, **work.ONE_THREAD})
    os.chdir(folder)
    work.settle_in(conditions.device)
    with contextlib.suppress(
        EOFError, BrokenPipeError, ConnectionResetError
    ):  # the parent is gone: there is nobody to tell
        while True:
            pipe.send(_alone(pipe.recv(), conditions, pipe))


def _alone(cell: Cell, conditions: Conditions, pipe: Connection) -> Event:
    """Attempt a cell that nobody has done or is at work on."""
    try:
        with conditions.store.lock(cell.key) as mine:
            if conditions.store.done(cell.key):
                return Event("found")  # by another run, since this one looked
            if not mine:
                return Event("elsewhere")
            pipe.send(Event("started"))
            event = work.attempt(cell, conditions, pipe.send)
    except StoreError as error:
        return Event("fatal", text=str(error))
    return Event(event.kind, event.seconds, text=event.text, trace=event.trace, peak=memory.peak())


def _fork(process: Any) -> None:
    """Start a worker. A server that was killed refuses that for a moment before it is seen to be dead; then another does it."""
    until = time.monotonic() + DYING_S
    while True:
        try:
            return process.start()
        except (EOFError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
            _start_server()


def _start_server() -> None:
    """The process that workers are forked from, with the environment that they need when libraries are loaded."""
    here = str(Path(__file__).resolve().parents[2])
    before = dict(os.environ)
    os.environ.update(
        {
            **work.ONE_THREAD,
            "PYTHONPATH": os.pathsep.join(filter(None, [here, before.get("PYTHONPATH")])),
        }
    )
    try:
        with _without_main(), answered(signal.SIGINT, signal.SIG_IGN):
            forkserver.set_forkserver_preload(PRELOADED)
            forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A new process imports its parent's main module, which may be a script that has no guard. Workers need none."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _die_with_parent(temporary: str) -> None:
    """A worker must not outlive a parent that was killed: it would go on holding its cell's lock. Last it removes the folder of
    the server's socket, which the parent would have removed.
    """
    sentinel = mp.parent_process().sentinel

    def watch() -> None:
        wait([sentinel])
        shutil.rmtree(temporary, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def default_workers() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
