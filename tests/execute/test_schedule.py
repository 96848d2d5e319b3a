"""The order of cells, and that each ends once, whatever an executor does."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_kit import Watch

from harness.cells.cell import Cell
from harness.cells.run import Conditions
from harness.errors import HarnessError, ProofError
from harness.execute import schedule, work
from harness.execute.base import Event


def cell(key: str, needs: str | None = None) -> Cell:
    """A training, or the measurement of one."""
    role = "measure" if needs else "train"
    protocol = "protocol" if needs else ""
    return Cell(key, role, {"seed": 0}, needs, "learner", protocol, "")


def trust(key: str, measure: str, training: str | None) -> Cell:
    """A trust check of a measurement; it reads the weights of a training, too."""
    identity = {"seed": 0, "training": training}
    return Cell(key, "trust", identity, measure, "learner", "protocol", "")


class Scripted:
    """An executor that follows a script: kinds of events for each cell, the last one final."""

    def __init__(self, size: int, script: dict[str, list[str]], refuses: int = 0):
        self.size = size
        self.script = script
        self.refuses = refuses
        self.cells: dict[int, Cell] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.announced: set[int] = set()  # workers whose cell has had its event `started`

    def idle(self) -> list[int]:
        return [worker for worker in range(self.size) if worker not in self.cells]

    def room(self, worker: int, cell: Cell) -> bool:
        self.refuses -= 1
        return self.refuses < 0 or not self.cells

    def start(self, worker: int, cell: Cell) -> None:
        assert worker not in self.cells and len(self.cells) < self.size
        self.cells[worker] = cell
        self.announced.discard(worker)
        self.started.append(cell.key)

    def stop(self, worker: int) -> None:
        self.stopped.append(self.cells.pop(worker).key)

    def receive(self, timeout: float):
        for worker, cell in list(self.cells.items()):
            kinds = self.script.get(cell.key, ["done"])
            kind = kinds.pop(0) if len(kinds) > 1 else kinds[0]
            if worker not in self.announced:
                self.announced.add(worker)
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


def test_the_whole_chain_counts():
    """train -> measure -> trust; and a measurement that is longer than any of them alone."""
    cells = [
        cell("a"),
        cell("b"),
        cell("a1", "a"),
        cell("b1", "b"),
        trust("a2", measure="a1", training="a"),
    ]
    seconds = {"a": 1.0, "a1": 5.0, "a2": 9.0, "b": 3.0, "b1": 8.0}
    assert [c.key for c in schedule.in_order(cells, seconds)] == ["a", "a1", "b", "a2", "b1"]


def test_cells_of_equal_length_keep_their_order():
    cells = [cell(str(index)) for index in range(5)]
    assert schedule.in_order(cells, dict.fromkeys("01234", 1.0)) == cells


ENDS = st.lists(st.sampled_from(["lost", "elsewhere"]), max_size=4)


@st.composite
def chains(draw) -> list[Cell]:
    """Trainings, measurements of them, and trust checks of those, in any order."""
    trainings = [cell(f"t{index}") for index in range(draw(st.integers(1, 4)))]
    measurements = [
        cell(f"{training.key}m{index}", training.key)
        for training in trainings
        for index in range(draw(st.integers(0, 3)))
    ]
    checks = [
        trust(f"{measurement.key}c", measurement.key, measurement.needs)
        for measurement in measurements
        if draw(st.booleans())
    ]
    return draw(st.permutations(trainings + measurements + checks))


def prerequisites_of(one: Cell, cells: list[Cell]) -> set[str]:
    """Keys of all cells that a cell needs, directly or through others."""
    by_key = {each.key: each for each in cells}
    if one.needs is None:
        return set()
    return {one.needs} | prerequisites_of(by_key[one.needs], cells)


@given(st.data(), chains(), st.integers(1, 4), st.integers(0, 5))
def test_every_cell_ends_once_and_after_what_it_needs(data, cells, size, refuses):
    script = {
        c.key: [*data.draw(ENDS), data.draw(st.sampled_from(["done", "found", "failed"]))]
        for c in cells
    }
    failing = {key for key, kinds in script.items() if kinds[-1] == "failed"}
    executor = Scripted(size, script, refuses)
    outcome, watch, shelf = run(cells, executor)
    assert sorted(watch.ends) == sorted(c.key for c in cells)
    assert sorted([*outcome.done, *outcome.found, *outcome.failed]) == sorted(c.key for c in cells)
    orphans = {c.key for c in cells if prerequisites_of(c, cells) & failing}
    assert set(outcome.failed) == failing | orphans
    assert set(executor.started) == {c.key for c in cells} - orphans
    assert set(shelf.failures) == failing - orphans, "what was not tried leaves no traceback"
    for one in cells:
        for needed in prerequisites_of(one, cells):
            assert watch.ends.index(needed) < watch.ends.index(one.key)


def test_a_failure_goes_down_the_chain_with_its_reason():
    chain = [cell("a"), cell("a1", "a"), trust("a2", measure="a1", training="a")]
    outcome, watch, shelf = run(chain, Scripted(1, {"a": ["failed"]}))
    assert outcome.failed == {
        "a": "it failed",
        "a1": "not measured: its training failed (it failed)",
        "a2": "not checked: its training failed (it failed)",
    }
    assert watch.ends == ["a", "a1", "a2"] and list(shelf.failures) == ["a"]
    assert watch.errors == {"a": "it failed"}, "an error is shown once"

    outcome, _, _ = run(chain, Scripted(1, {"a1": ["failed"]}))
    assert outcome.done == ["a"]
    assert outcome.failed["a2"] == "not checked: its measurement failed (it failed)"


def test_a_check_waits_for_weights_that_are_made_again_though_its_measurement_is_done():
    cells = [trust("a2", measure="a1", training="a"), cell("a")]
    executor = Scripted(2, {})
    outcome, _, _ = run(cells, executor)
    assert executor.started == ["a", "a2"] and sorted(outcome.done) == ["a", "a2"]


def test_a_check_of_a_measurement_without_training_runs():
    outcome, _, _ = run([trust("m1", measure="m", training=None)], Scripted(1, {}))
    assert outcome.done == ["m1"]


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


@pytest.mark.parametrize("error, kind", [(ProofError, "fatal"), (HarnessError, "failed")])
def test_a_refuted_proof_ends_the_run_and_not_its_cell_alone(monkeypatch, error, kind):
    def refuted(*_):
        raise error("image 3 is proven robust and broken")

    monkeypatch.setattr(work.cells, "run", refuted)
    event = work.attempt(cell("a"), Conditions(store=None), lambda event: None)
    assert event.kind == kind and "image 3" in event.text


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
