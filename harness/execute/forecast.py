"""What a run of a plan has to do, and how long it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from harness.cells import estimate
from harness.cells.cell import Cell
from harness.cells.estimate import Basis, Expected
from harness.cells.plan import Plan
from harness.execute.local import default_workers
from harness.execute.time_left import Range, TimeLeft, crowding
from harness.storage.store import Store


class Missing(Protocol):
    """Tells which cells are missing."""

    def __call__(self, keys: Iterable[str], *, skip_arrays: Collection[str] = ()) -> list[str]:
        """Return the keys of missing cells, in the given order.

        Args:
            keys: of the cells in question.
            skip_arrays: those of them whose arrays need not be looked at.
        """


@dataclass(frozen=True)
class Forecast:
    """The work that is left of a plan.

    Attributes:
        cells: all cells of the plan, each once, and what the missing ones need beside them.
        missing: those that the store does not have, including cells that wait for a match.
        expected: key of each missing cell -> what is expected of it.
        workers: number of cells computed side by side.
    """

    cells: list[Cell]
    missing: list[Cell]
    expected: dict[str, Expected]
    workers: int

    @property
    def seconds(self) -> float:
        """Expected seconds until all cells are done; no less than the longest cell takes."""
        seconds = [each.seconds for each in self.expected.values()]
        return max(sum(seconds) / self.workers, max(seconds, default=0.0))

    @property
    def range(self) -> Range:
        """The seconds until all cells are done, as a range."""
        return TimeLeft(self.missing, self.expected, self.workers, crowding(self.workers)).bounds()

    def based_on(self, basis: Basis) -> int:
        """The number of missing cells whose times are known that way."""
        return sum(each.basis == basis for each in self.expected.values())


def forecast(plan: Plan, store: Store, workers: int | None = None) -> Forecast:
    """Compare a plan with a store.

    Args:
        plan: the cells of a suite.
        store: where finished cells are looked up; estimates are based on their times.
        workers: number of cells computed side by side; one per core if None.
    """
    finished = set(store.finished())

    def absent(keys: Iterable[str], *, skip_arrays: Collection[str] = ()) -> list[str]:
        return [key for key in keys if key not in finished]

    missing = [*unfinished(plan, absent), *plan.waiting]
    expected = estimate.expectations(missing, store)
    relatives = [cell for cell in plan.relatives if cell.key in expected]
    every = {cell.key: cell for cell in [*relatives, *plan.unique, *plan.waiting]}
    return Forecast(list(every.values()), missing, expected, workers or default_workers())


def unfinished(plan: Plan, missing: Missing) -> list[Cell]:
    """The cells of a plan that a run has to compute; those that wait for a match are left out.

    Weights that no missing cell needs are not read.

    Args:
        plan: the cells of a suite.
        missing: tells which keys are missing, as ``Store.unfinished`` does, which verifies cells
            and sets damaged ones aside.
    """
    users = [cell for cell in plan.unique if cell.role != "train"]
    todo = set(missing(cell.key for cell in users))
    needed = {cell.training for cell in users if cell.key in todo}
    trainings = [cell.key for cell in plan.unique if cell.role == "train"]
    todo |= set(missing(trainings, skip_arrays=set(trainings) - needed))
    related = {key for cell in users if cell.key in todo for key in cell.relatives}
    todo |= set(missing(related))
    every = {cell.key: cell for cell in [*plan.relatives, *plan.unique]}
    return [cell for cell in every.values() if cell.key in todo]
