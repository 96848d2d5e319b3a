"""What runs on the nodes of a Ray cluster: a task that computes one cell without the store."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from harness.cells.cell import Cell
from harness.cells.entries import code_version
from harness.cells.run import Conditions
from harness.data.acquire import data_root
from harness.environment import differences, versions
from harness.errors import HarnessError, StoreError
from harness.execute import work
from harness.execute.base import Event, prerequisites
from harness.execute.ray_desk import Stored
from harness.storage.store import VERDICTS, Arrays, CellResult, Store


@dataclass(frozen=True)
class Setup:
    """What is the same for all tasks of a run.

    Attributes:
        conditions: how cells are run; without a store.
        path: the driver's ``sys.path``: learners of a suite may be in a module beside it.
    """

    conditions: Conditions
    path: tuple[str, ...]


class CarriedStore:
    """The store as a task sees it.

    What the cell needs was sent with the task, and what it writes is sent back with the task's
    result. Trainings that a cell makes on the way (``match``) are read and written at the driver's
    desk.

    Args:
        cell: the task's.
        carried: key -> finished cell, for each prerequisite of the cell.
        desk: actor handle of a ``Desk``.
    """

    root = ""
    """It is in no folder of this node."""

    def __init__(self, cell: Cell, carried: dict[str, Stored | None], desk: Any) -> None:
        self.cell = cell
        self.carried = carried
        self.desk = desk
        self.written: Stored | None = None
        self.fetched: dict[str, Stored | None] = {}  # the last one only: it may be large

    def read(self, key: str, *, repair: bool = False) -> CellResult | None:
        """Read a finished cell; None if it is missing or damaged."""
        stored = self._stored(key)
        return None if stored is None else stored[0]

    def arrays(self, key: str, name: str = VERDICTS) -> Arrays:
        """Read the arrays in one file of a finished cell.

        Raises:
            StoreError: the cell has no such file.
        """
        stored = self._stored(key)
        if stored is None or name not in stored[1]:
            raise StoreError(f"cell {key} has no {name}")
        # Copies, because arrays in Ray's object store are shared and read-only.
        return {each: array.copy() for each, array in stored[1][name].items()}

    def write(self, key: str, result: CellResult, arrays: dict[str, Arrays]) -> None:
        """Keep the cell's result for the driver; other cells are written at the desk."""
        if key == self.cell.key:
            self.written = result, arrays
        else:
            self._ask(self.desk.keep, key, result, arrays)
            self.fetched = {key: (result, arrays)}

    def done(self, key: str) -> bool:
        """Report whether a cell is finished."""
        return self._stored(key) is not None

    def lock(self, key: str) -> contextlib.AbstractContextManager[bool]:
        """Always grant the lock.

        Two cells may make the same training at once: the first to write wins, and both write the
        same.
        """
        return contextlib.nullcontext(True)

    def _stored(self, key: str) -> Stored | None:
        if key in self.carried:
            return self.carried[key]
        if self.fetched.get(key) is None:
            self.fetched = {key: self._ask(self.desk.fetch, key)}
        return self.fetched[key]

    def _ask(self, method: Any, *arguments: object) -> Any:
        import ray

        try:
            return ray.get(method.remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


def compute(
    cell: Cell, setup: Setup, desk: Any, number: int, *carried: Stored | None
) -> tuple[Event, Stored | None]:
    """Compute one cell on this node; the body of a task.

    Args:
        cell: to compute.
        setup: of the run.
        desk: actor handle of a ``Desk``.
        number: of the task, for its events.
        carried: the cell's prerequisites, in the order of ``prerequisites(cell)``.

    Returns:
        How it ended, and the result to store.

    Raises:
        HarnessError: this node has other code than the driver.
    """
    _prepare(setup.path, setup.conditions.device)
    if difference := _difference(cell):
        raise HarnessError(f"{os.uname().nodename} has other code than the driver: {difference}")

    def report(event: Event) -> None:
        desk.report.remote(number, event)

    report(Event("started"))
    store = CarriedStore(cell, dict(zip(prerequisites(cell), carried, strict=True)), desk)
    event = work.attempt(cell, _conditions_here(setup.conditions, store), report)
    return event, store.written


def _conditions_here(conditions: Conditions, store: CarriedStore) -> Conditions:
    """The driver's conditions with this task's store and, if need be, this node's data."""
    root = conditions.data_root
    if root is None or not root.is_dir():
        root = data_root()
    return replace(conditions, store=cast(Store, store), data_root=root)


@lru_cache(maxsize=1)
def _prepare(path: tuple[str, ...], device: str) -> None:
    """Set up this process, once for all its tasks."""
    sys.path += [folder for folder in path if folder not in sys.path and Path(folder).exists()]
    work.prepare_process(device)


def _difference(cell: Cell) -> str:
    """Where this node's code is not what the cell was planned with; empty where it is."""
    identity = cell.identity
    unlike = differences(versions(), identity["versions"])
    if unlike:
        return "; ".join(unlike)
    if code_version(identity) != identity["code"]:
        return f"the code of {identity['learner']['kind']}, or of what measures it"
    return ""
