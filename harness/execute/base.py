"""The Executor contract: somewhere to run cells. One file in this folder adds one; ``schedule`` drives them all alike.

An executor has workers, numbered from 0, each with at most one cell at a time. It is told which worker starts which cell,
and says what becomes of it in events. The order of cells, their dependencies, time limits and what is tried again are not
its business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from harness import registry
from harness.cells.plan import Cell
from harness.cells.run import Conditions


@dataclass(frozen=True)
class Event:
    """What has become of a worker's cell. All kinds but ``started``, ``progress`` and ``fatal`` leave the worker idle.

    Attributes:
        kind: ``started``; ``progress``; ``done``: its result is in the store; ``found``: it was there, by another run;
            ``elsewhere``: another run is at work on it; ``failed``: it would fail again; ``lost``: through no fault of its
            own (its node is gone, memory ran short), so it is tried again; ``fatal``: no cell would survive it.
        seconds: that it took.
        fraction: of ``progress``, how far it is.
        text: a line: the note of ``progress``; why it failed, was lost, or is fatal.
        trace: the traceback of a failure, where there is one.
        peak: bytes of memory that its process has used at most; 0: not known.
    """

    kind: Literal["started", "progress", "done", "found", "elsewhere", "failed", "lost", "fatal"]
    seconds: float = 0.0
    fraction: float = 0.0
    text: str = ""
    trace: str = ""
    peak: int = 0


class Executor(ABC):
    """Somewhere to run cells; a context manager, in which its workers live.

    A subclass registers itself with ``@executors.register(name)``, has a nested ``Config``, and is one file.

    Args:
        config: an instance of the class's ``Config``.
        conditions: how cells are run; the store has been prepared.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[registry.Config]]
    local: ClassVar[bool] = True
    """Whether cells run on this machine, and so on its devices."""

    def __init__(self, config: registry.Config, conditions: Conditions):
        self.config, self.conditions = config, conditions

    def __enter__(self) -> Executor:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop all workers, at once and whatever they are doing."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many cells run side by side."""

    @abstractmethod
    def idle(self) -> list[int]:
        """Workers that have no cell."""

    def room(self, worker: int, cell: Cell) -> bool:
        """Whether an idle worker may start this cell now; asked again later if not. True where no cell is under way."""
        return True

    @abstractmethod
    def start(self, worker: int, cell: Cell) -> None:
        """Give an idle worker a cell; what that needs to have been trained is in the store."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """Stop what a worker is doing, whatever it takes; it is idle then, and no event of that cell comes any more."""

    @abstractmethod
    def receive(self, timeout: float) -> Iterator[tuple[int, Event]]:
        """Events as they come, each with its worker; returns after ``timeout`` seconds at the latest if none does."""


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


executors = registry.Registry("executor", "harness.execute.base:Executor", "harness.execute")
