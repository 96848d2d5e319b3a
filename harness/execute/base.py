"""The Executor contract: a place where cells run. One file in this folder adds an executor.

An executor has workers, numbered from 0, each with at most one cell at a time. ``schedule`` tells
it which worker starts which cell; it reports what happens to them in events. The order of cells,
their dependencies, time limits and retries are the business of ``schedule``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, Self

from harness import registry
from harness.cells.cell import Cell
from harness.cells.run import Conditions


@dataclass(frozen=True)
class Event:
    """What happened to a worker's cell.

    The kinds are

    * ``started``, ``progress``: the worker is computing the cell;
    * ``done``: its result is in the store;
    * ``found``: another run had already finished it;
    * ``elsewhere``: another run is computing it;
    * ``failed``: it raised an error, and would raise it again;
    * ``lost``: it ended through no fault of its own (its node is gone, memory ran short); it is
      retried;
    * ``fatal``: no cell can succeed, so the run ends.

    After all kinds but ``started``, ``progress`` and ``fatal`` the worker is idle.

    Attributes:
        kind: see above.
        seconds: that the cell took.
        fraction: of ``progress``, between 0 and 1.
        text: one line: the note of ``progress``, a warning of ``done``, or why the cell failed, was
            lost, or is fatal.
        trace: the traceback of a failure, if there is one.
        peak: the largest number of bytes that the worker's process used; 0 if unknown.
    """

    kind: Literal["started", "progress", "done", "found", "elsewhere", "failed", "lost", "fatal"]
    seconds: float = 0.0
    fraction: float = 0.0
    text: str = ""
    trace: str = ""
    peak: int = 0


class Executor(ABC):
    """A place where cells run; a context manager, in which its workers live.

    A subclass registers itself with ``@executors.register(name)``, has a nested ``Config``, and is
    one file.

    Args:
        config: an instance of the class's ``Config``.
        conditions: how cells are run; the store has been prepared.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[registry.Config]]
    local: ClassVar[bool] = True
    """Whether cells run on this machine, and so on its devices."""

    def __init__(self, config: registry.Config, conditions: Conditions) -> None:
        self.config = config
        self.conditions = conditions

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop all workers at once, whatever they are doing."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many cells run side by side."""

    @abstractmethod
    def idle(self) -> list[int]:
        """Return the workers that have no cell."""

    def room(self, worker: int, cell: Cell) -> bool:
        """Report whether an idle worker may start this cell now; if not, it is asked again later.

        Must be True while no cell is running.
        """
        return True

    @abstractmethod
    def start(self, worker: int, cell: Cell) -> None:
        """Give an idle worker a cell; the cells that it needs are in the store."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """Stop a worker's cell by force; the worker is idle then and sends no events of it."""

    @abstractmethod
    def receive(self, timeout: float) -> Iterator[tuple[int, Event]]:
        """Yield events with their workers; returns if none comes for ``timeout`` seconds."""


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        done: keys of cells that this run computed.
        found: keys of cells that were finished already.
        failed: key -> last line of the error.
    """

    done: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Include the outcome of a further run."""
        self.done += other.done
        self.found += other.found
        self.failed |= other.failed


class Display(Protocol):
    """Shows a run while it goes on; see ``harness.execute.display``."""

    def started(self, worker: int, cell: Cell) -> None:
        """A worker has started a cell."""

    def progressed(self, worker: int, fraction: float, note: str) -> None:
        """A worker has computed this fraction of its cell."""

    def warned(self, cell: Cell, warning: str) -> None:
        """A cell that is done has a warning; shown once for each learner."""

    def finished(self, worker: int, cell: Cell, seconds: float, error: str | None) -> None:
        """A cell is done (``error`` is None) or has failed, here or in another run."""

    def skipped(self, cells: Sequence[Cell]) -> None:
        """Cells that need the one that has just failed, and fail with it."""


executors = registry.Registry("executor", "harness.execute.base:Executor", "harness.execute")


def prerequisites(cell: Cell) -> list[str]:
    """Return the keys of the cells whose results a cell reads.

    Trust checks read several: the training's weights, the verdicts of their measurement, and the
    weights of the networks that they transfer from.
    """
    keys = (cell.training, cell.needs, *cell.relatives)
    return list(dict.fromkeys(key for key in keys if key is not None))
