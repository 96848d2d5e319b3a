"""Run cells on N local worker processes, one thread each.

The parent hands out cells and listens; a worker computes a cell and stores it before it says so, hence whatever is
killed, and whenever, finished cells stay and the rest is computed by the next run. Two runs on one store share the work
through the store's locks.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from harness.cells import POLL_S, Conditions
from harness.errors import DataError, HarnessError, StoreError
from harness.plan import Cell


@dataclass
class Outcome:
    """How a run ended: keys of cells done here, found done, failed (key -> last line of the error)."""

    done: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Take up how a further run ended."""
        self.done += other.done
        self.found += other.found
        self.failed |= other.failed


class Display(Protocol):
    """Shows a run as it goes; see ``harness.execute.display``."""

    def started(self, worker: int, cell: Cell) -> None:
        """A worker took up a cell."""

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """A worker is this far into its cell."""

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """A cell is done (``error`` None) or has failed; also called when another run has done it."""


def run(cells: list[Cell], conditions: Conditions, workers: int, display: Display) -> Outcome:
    """Execute cells; the store has been prepared. Each is computed once, here or by another run on the same store.

    Raises:
        HarnessError: an error that no further cell would survive either (a full disk, a missing dataset).
        KeyboardInterrupt: after the workers have been stopped.
    """
    outcome = Outcome()
    if cells:
        with _Pool(min(workers, len(cells)), conditions) as pool:
            _Run(cells, pool, display, outcome).loop()
    return outcome


class _Run:
    """The parent's side: which cells wait, which are under way."""

    def __init__(self, todo: list[Cell], pool: _Pool, display: Display, outcome: Outcome):
        self.todo, self.pool, self.display, self.outcome = list(todo), pool, display, outcome
        self.unfinished = {cell.key for cell in todo}
        self.busy: dict[int, Cell] = {}
        self.elsewhere: dict[str, float] = {}  # cells that another run holds -> when to look again

    def loop(self) -> None:
        while self.todo or self.busy:
            self._drop_orphans()
            for worker in self.pool.idle():
                cell = self._next(worker)
                if cell is not None:
                    self.todo.remove(cell)
                    self.busy[worker] = cell
                    self.pool.send(worker, cell)
            for worker, message in self.pool.receive(POLL_S):
                self._handle(worker, *message)

    def _drop_orphans(self) -> None:
        """Cells whose training failed cannot be measured: they fail with it."""
        for cell in [c for c in self.todo if c.needs in self.outcome.failed]:
            self.todo.remove(cell)
            self._finish(-1, cell, 0.0, f"not measured: its training failed ({self.outcome.failed[cell.needs]})")

    def _next(self, worker: int) -> Cell | None:
        """A ready cell, by preference one that uses what the worker has just had in hand."""
        now = time.monotonic()
        ready = [c for c in self.todo if c.needs not in self.unfinished and self.elsewhere.get(c.key, 0.0) <= now]
        last = self.pool.last.get(worker)
        return next((c for c in ready if last and c.needs in (last.key, last.needs) and c.needs), ready[0] if ready else None)

    def _handle(self, worker: int, kind: str, *rest: Any) -> None:
        cell = self.busy.get(worker)
        if cell is None:
            return
        if kind == "started":
            self.display.started(worker, cell)
        elif kind == "progress":
            self.display.progressed(worker, *rest)
        elif kind == "fatal":
            raise HarnessError(rest[0])
        else:
            del self.busy[worker]
            self.pool.last[worker] = cell
            if kind == "elsewhere":
                self.elsewhere[cell.key] = time.monotonic() + POLL_S
                self.todo.append(cell)
            else:
                seconds, error = rest if kind == "failed" else (rest[0], None)
                self._finish(worker, cell, seconds, error, found=kind == "found")

    def _finish(self, worker: int, cell: Cell, seconds: float, error: str | None, *, found: bool = False) -> None:
        self.unfinished.discard(cell.key)
        if error is not None:
            self.outcome.failed[cell.key] = error
        else:
            (self.outcome.found if found else self.outcome.done).append(cell.key)
        self.display.finished(worker, cell, seconds, error)


class _Pool:
    """Worker processes and the pipes to them; a worker that dies is replaced and its cell has failed."""

    def __init__(self, size: int, conditions: Conditions):
        self.context, self.conditions, self.size = mp.get_context("spawn"), conditions, size
        self.pipes: dict[int, Connection] = {}
        self.processes: dict[int, Any] = {}
        self.working: set[int] = set()
        self.last: dict[int, Cell] = {}

    def __enter__(self) -> _Pool:
        for worker in range(self.size):
            self._start(worker)
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes.values():
            with contextlib.suppress(OSError):
                pipe.send(None)
        for worker, process in self.processes.items():
            if worker in self.working:
                process.kill()
        for process in self.processes.values():
            process.join(5)
            process.kill()

    def _start(self, worker: int) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.conditions), daemon=True)
        with _without_main(), _deaf_to_ctrl_c():  # which the new process inherits: it is not ours to answer there
            process.start()
        theirs.close()
        self.pipes[worker], self.processes[worker] = ours, process

    def idle(self) -> list[int]:
        return [worker for worker in self.pipes if worker not in self.working]

    def send(self, worker: int, cell: Cell) -> None:
        self.working.add(worker)
        with contextlib.suppress(OSError):  # a dead worker is noticed in receive()
            self.pipes[worker].send(cell)

    def receive(self, timeout: float) -> Iterator[tuple[int, tuple]]:
        """Messages that have come, each with its worker; the death of a worker is a message too."""
        by_pipe = {self.pipes[worker]: worker for worker in self.working}
        if not by_pipe:
            time.sleep(timeout)
        for pipe in wait(list(by_pipe), timeout) if by_pipe else []:
            worker = by_pipe[pipe]
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                message = self._bury(worker)
            if message[0] in ("done", "found", "failed", "elsewhere"):
                self.working.discard(worker)
            yield worker, message

    def _bury(self, worker: int) -> tuple:
        process = self.processes[worker]
        process.join(5)
        code = process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        guess = "; out of memory?" if code == -signal.SIGKILL else ""
        self._start(worker)
        return "failed", 0.0, f"the worker process died ({how}){guess}"


def _work(pipe: Connection, conditions: Conditions) -> None:
    """A worker's life: take a cell, compute it, say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    _keep_memory()
    import torch

    torch.set_num_threads(1)  # results do not depend on the number of cores, and small networks run faster
    sys.stdout = sys.stderr  # answers are the parent's to give
    while (cell := pipe.recv()) is not None:
        pipe.send(_attempt(cell, conditions, pipe))


def _keep_memory() -> None:
    """Have glibc reuse what large tensors leave instead of giving it back and faulting it in again, page by page: training
    a convolutional network on a few hundred images at once is 1.2 to 1.4 times as fast."""
    m_trim_threshold, m_mmap_max = -1, -4
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def _attempt(cell: Cell, conditions: Conditions, pipe: Connection) -> tuple:
    from harness import cells

    start = time.perf_counter()
    try:
        with conditions.store.lock(cell.key) as mine:
            if conditions.store.done(cell.key):
                return "found", 0.0  # by another run, since this one looked
            if not mine:
                return ("elsewhere",)
            pipe.send(("started",))
            return "done", cells.run(cell, conditions, _throttled(pipe))
    except (StoreError, DataError) as error:  # the next cell would not survive it either
        return "fatal", str(error)
    except (Exception, SystemExit) as error:
        conditions.store.write_failure(cell.key, f"{cell.title}\n\n{traceback.format_exc()}")
        return "failed", time.perf_counter() - start, f"{type(error).__name__}: {error}".partition("\n")[0]


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A spawned process imports its parent's main module, which may be a script that has no guard. Workers need none."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _throttled(pipe: Connection) -> Callable[[float, str], None]:
    last = 0.0

    def progress(fraction: float, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            pipe.send(("progress", fraction, note))

    return progress


def _die_with_parent() -> None:
    """A worker must not outlive a parent that was killed: it would go on holding its cell's lock."""
    sentinel = mp.parent_process().sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does. Only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def default_workers() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


__all__ = ["Display", "Outcome", "default_workers", "run", "terminating"]
