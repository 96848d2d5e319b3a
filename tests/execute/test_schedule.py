"""The order of cells, and that each ends once, whatever an executor does."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_kit import Watch

from harness.cells.plan import Cell
from harness.errors import HarnessError
from harness.execute import schedule
from harness.execute.base import Event


def cell(key: str, needs: str | None = None) -> Cell:
    return Cell(
        key,
        "measure" if needs else "train",
        {"seed": 0},
        needs,
        "learner",
        "protocol" if needs else "",
        "",
    )


class Scripted:
    """An executor whose cells end as its script says: a list of kinds of events a cell, the last of which is final."""

    def __init__(self, size: int, script: dict[str, list[str]], refuses: int = 0):
        self.size, self.script, self.refuses, self.cells, self.started, self.stopped = (
            size,
            script,
            refuses,
            {},
            [],
            [],
        )
        self.told: set[int] = (
            set()
        )  # workers whose cell has been said to have started: that is said once

    def idle(self) -> list[int]:
        return [worker for worker in range(self.size) if worker not in self.cells]

    def room(self, worker: int, cell: Cell) -> bool:
        self.refuses -= 1
        return self.refuses < 0 or not self.cells

    def start(self, worker: int, cell: Cell) -> None:
        assert worker not in self.cells and len(self.cells) < self.size
        self.cells[worker] = cell
        self.told.discard(worker)
        self.started.append(cell.key)

    def stop(self, worker: int) -> None:
        self.stopped.append(self.cells.pop(worker).key)

    def receive(self, timeout: float):
        for worker, cell in list(self.cells.items()):
            kinds = self.script.get(cell.key, ["done"])
            kind = kinds.pop(0) if len(kinds) > 1 else kinds[0]
            if worker not in self.told:
                self.told.add(worker)
                yield worker, Event("started")
            if kind != "hangs":
                del self.cells[worker]
                yield worker, Event(kind, 1.0, text=f"it {kind}")


class Shelf:
    """What a schedule asks of a store."""

    def __init__(self) -> None:
        self.failures = {}

    def done(self, key: str) -> bool:
        return False

    def write_failure(self, key: str, text: str) -> None:
        self.failures[key] = text


def run(cells: list[Cell], executor: Scripted, **options):
    watch, shelf = Watch(), Shelf()
    with mock.patch.object(schedule, "POLL_S", 0.0):
        return schedule.run(cells, executor, shelf, watch, **options), watch, shelf


def test_what_most_work_depends_on_comes_first():
    cells = [cell("a"), cell("b"), cell("a1", "a"), cell("b1", "b"), cell("b2", "b")]
    seconds = {"a": 10.0, "b": 1.0, "a1": 1.0, "b1": 2.0, "b2": 30.0}
    assert [c.key for c in schedule.in_order(cells, seconds)] == ["b", "b2", "a", "b1", "a1"]


ENDS = st.lists(st.sampled_from(["lost", "elsewhere"]), max_size=4)


@given(st.data(), st.integers(1, 4), st.integers(0, 5))
def test_every_cell_ends_once_and_after_its_training(data, size, refuses):
    trainings = [cell(f"t{index}") for index in range(data.draw(st.integers(1, 4)))]
    measuring = [
        cell(f"{t.key}m{index}", t.key)
        for t in trainings
        for index in range(data.draw(st.integers(0, 3)))
    ]
    cells = data.draw(st.permutations(trainings + measuring))
    script = {
        c.key: [*data.draw(ENDS), data.draw(st.sampled_from(["done", "found", "failed"]))]
        for c in cells
    }
    failing = {key for key, kinds in script.items() if kinds[-1] == "failed"}
    executor = Scripted(size, script, refuses)
    outcome, watch, shelf = run(cells, executor)
    assert sorted(watch.ends) == sorted(c.key for c in cells)
    assert sorted([*outcome.done, *outcome.found, *outcome.failed]) == sorted(c.key for c in cells)
    orphans = {c.key for c in measuring if c.needs in failing}
    assert set(outcome.failed) == {key for key in failing if key not in orphans} | orphans
    assert set(executor.started) == {c.key for c in cells} - orphans
    assert set(shelf.failures) == failing - orphans, (
        "of what was not tried there is nothing to keep"
    )
    for one in measuring:
        assert watch.ends.index(one.needs) < watch.ends.index(one.key)


def test_a_cell_that_takes_its_node_down_every_time_is_given_up():
    outcome, watch, _ = run([cell("a"), cell("b")], Scripted(2, {"a": ["lost"]}))
    assert outcome.done == ["b"] and outcome.failed == {
        "a": f"lost {schedule.MAX_LOSSES} times: it lost"
    }
    assert watch.starts.count("a") == schedule.MAX_LOSSES


def test_a_cell_that_hangs_is_stopped_and_the_others_go_on():
    executor = Scripted(2, {"a": ["hangs"]})
    outcome, _, shelf = run(
        [cell("a"), *(cell(f"b{index}") for index in range(5)), cell("a1", "a")],
        executor,
        time_limit=0.01,
    )
    assert executor.stopped == ["a"] and len(outcome.done) == 5
    assert outcome.failed["a"] == "stopped: it took longer than the time limit of 0.01 s"
    assert "its training failed" in outcome.failed["a1"] and list(shelf.failures) == ["a"]


def test_what_no_cell_would_survive_ends_the_run():
    with pytest.raises(HarnessError, match="it fatal"):
        run([cell("a"), cell("b")], Scripted(1, {"a": ["fatal"]}))


def test_ten_thousand_cells_are_handed_out_in_order_without_looking_through_all_of_them():
    """Comparisons of cells, which a list to search would cost, number none."""
    cells = [cell(str(index)) for index in range(10_000)]
    with mock.patch.object(Cell, "__eq__", side_effect=AssertionError("cells are compared")):
        executor = Scripted(50, {})
        outcome, _, _ = run(cells, executor)
    assert (
        executor.started == [str(index) for index in range(10_000)] and len(outcome.done) == 10_000
    )
    assert list(itertools.islice(outcome.failed, 1)) == []
