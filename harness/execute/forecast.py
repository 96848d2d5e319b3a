"""What a run of a plan has to do, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.cells import estimate
from harness.cells.cell import Cell
from harness.cells.estimate import Basis, Expected
from harness.cells.plan import Plan
from harness.execute.local import default_workers
from harness.execute.time_left import Range, TimeLeft, crowding
from harness.storage.store import Store


@dataclass(frozen=True)
class Forecast:
    """The work that is left of a plan.

    Attributes:
        cells: all cells of the plan, each once.
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
    missing = [cell for cell in plan.unique if cell.key not in finished]
    missing += plan.waiting
    expected = estimate.expectations(missing, store)
    cells = [*plan.unique, *plan.waiting]
    return Forecast(cells, missing, expected, workers or default_workers())
