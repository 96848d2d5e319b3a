"""A worker process of this machine: takes cells from a pipe, computes them and reports events."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import shutil
import signal
import threading
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.util import get_temp_dir
from pathlib import Path

from harness.cells.cell import Cell
from harness.cells.run import Conditions
from harness.errors import StoreError
from harness.execute import memory, work
from harness.execute.base import Event


@dataclass(frozen=True)
class Surroundings:
    """What a worker takes over from its parent, because the server it is forked from may be older.

    Attributes:
        environment: variables.
        folder: the current one.
        temporary: folder of the server's socket.
    """

    environment: dict[str, str]
    folder: Path
    temporary: str

    @staticmethod
    def here() -> Surroundings:
        """Return those of this process."""
        return Surroundings(dict(os.environ), Path.cwd(), get_temp_dir())


def main(pipe: Connection, conditions: Conditions, surroundings: Surroundings) -> None:
    """Compute the cells that come through a pipe, until the parent closes it.

    Args:
        pipe: gives cells and takes events; the last event of a cell is not ``started`` or
            ``progress``.
        conditions: how cells are run.
        surroundings: those of the parent.
    """
    # Ctrl-C reaches the whole process group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent(surroundings.temporary)
    os.environ.clear()
    os.environ.update({**surroundings.environment, **work.ONE_THREAD})
    os.chdir(surroundings.folder)
    work.prepare_process(conditions.device)
    # If the parent is gone, nobody is left to report to.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            cell = pipe.recv()
            pipe.send(_compute(cell, conditions, pipe))


def _compute(cell: Cell, conditions: Conditions, pipe: Connection) -> Event:
    """Compute a cell, unless another process has finished it or is computing it."""
    try:
        with conditions.store.lock(cell.key) as taken:
            if conditions.store.done(cell.key):
                return Event("found")
            if not taken:
                return Event("elsewhere")
            pipe.send(Event("started"))
            event = work.attempt(cell, conditions, pipe.send)
    except StoreError as error:
        return Event("fatal", text=str(error))
    return replace(event, peak=memory.peak())


def _die_with_parent(temporary: str) -> None:
    """End this process when its parent has ended.

    A worker that outlives a killed parent would go on holding its cell's lock. Before it ends, it
    removes the folder of the server's socket, which the parent would have removed.
    """
    parent = mp.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        shutil.rmtree(temporary, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
