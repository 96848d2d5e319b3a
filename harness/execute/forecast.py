"""What a run of a plan has to do, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.cells import estimate
from harness.cells.cell import Cell
from harness.cells.plan import Plan
from harness.execute.local import default_workers
from harness.storage.store import Store


@dataclass(frozen=True)
class Forecast:
    """The work that is left of a plan.

    Attributes:
        cells: all cells of the plan, each once.
        missing: those that the store does not have, including cells that wait for a match.
        expected: key of each missing cell -> expected seconds.
        guesses: number of missing cells whose seconds are rough guesses, because the store has no
            similar cell.
        workers: number of cells computed side by side.
    """

    cells: list[Cell]
    missing: list[Cell]
    expected: dict[str, float]
    guesses: int
    workers: int

    @property
    def seconds(self) -> float:
        """Expected seconds until all cells are done; no less than the longest cell takes.

        >>> expected = {"a": 30.0, "b": 5.0, "c": 5.0}
        >>> Forecast([], [], expected, guesses=0, workers=1).seconds
        40.0
        >>> Forecast([], [], expected, guesses=0, workers=4).seconds
        30.0
        """
        work = sum(self.expected.values())
        longest = max(self.expected.values(), default=0.0)
        return max(work / self.workers, longest)


def forecast(plan: Plan, store: Store, workers: int | None = None) -> Forecast:
    """Compare a plan with a store.

    Args:
        plan: the cells of a suite.
        store: where finished cells are looked up; their times are the basis of the estimate.
        workers: number of cells computed side by side; one per core if None.
    """
    finished = set(store.finished())
    missing = [cell for cell in plan.unique if cell.key not in finished]
    missing += plan.waiting
    expected, guesses = estimate.expected_seconds(missing, store)
    cells = [*plan.unique, *plan.waiting]
    return Forecast(cells, missing, expected, guesses, workers or default_workers())
