"""Local workers: warm, of one thread, replaced when they die, and limited by memory."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver
from pathlib import Path

import pytest
from runs_kit import interrupted, measured

from harness import api
from harness.cells.cell import Cell
from harness.cells.run import Conditions
from harness.execute import memory
from harness.execute.base import executors
from harness.execute.local import Local
from harness.storage.store import Store

GIB = 2**30


def failed(run) -> dict[str, str]:
    """Learner -> why its training failed."""
    return {
        cell.learner: run.outcome.failed[cell.key]
        for cell in run.plan.unique
        if cell.role == "train" and cell.key in run.outcome.failed
    }


def test_two_workers_measure_what_one_does(reference, tmp_path):
    path, run = reference
    assert measured(api.run(path, store=tmp_path / "store", workers=2).results) == measured(
        run.results
    )


def test_interrupted_and_resumed_it_measures_the_same(reference, tmp_path):
    path, run = reference
    first = interrupted(path, "--store", tmp_path / "store", "--workers", "2", after=6)
    assert first.returncode == 130 and "Traceback" not in first.errors
    assert "run the same command to resume" in first.errors
    finished = Store(tmp_path / "store").finished()
    again = api.run(path, store=tmp_path / "store", workers=2)
    assert len(finished) >= 6 and again.outcome.failed == {}
    assert not {*again.outcome.done} & {*finished}, "nothing is computed twice"
    assert measured(again.results) == measured(run.results)


def test_each_way_to_go_wrong_is_one_line_and_stops_nobody_else(going_wrong, tmp_path):
    path = going_wrong("Raises", "Interrupts", "Exits", "Crashes", "Hangs")
    run = api.run(path, store=tmp_path / "store", workers=2, time_limit=3)
    assert failed(run) == {
        "raises": "ArithmeticError: as it should",
        "interrupts": "KeyboardInterrupt: ",
        "exits": "the worker process died (exit status 0)",
        "crashes": "the worker process died (signal SIGSEGV)",
        "hangs": "stopped: it took longer than the time limit of 3 s",
    }
    assert {record.learner for record in run.results.records} == {"pixels"}
    kept = {
        cell.learner: (tmp_path / "store" / "failures" / f"{cell.key}.txt").read_text()
        for cell in run.plan.unique
        if cell.role == "train" and cell.key in run.outcome.failed
    }
    assert (
        "in fit" in kept["raises"]
        and "exit status 0" in kept["exits"]
        and "time limit" in kept["hangs"]
    )


def test_workers_are_warm_and_have_one_thread_and_the_runs_own_place(
    going_wrong, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    # The server that workers are forked from is as old as the first run.
    for value in ("first", "second"):
        monkeypatch.setenv("OF_THE_RUN", value)
        run = api.run(going_wrong("Tells", seeds=4), store=f"store-{value}", workers=1)
        told = {text for text in run.outcome.failed.values() if text.startswith("Arithmetic")}
        assert len(told) == 1, "one process for all cells"
        assert told.pop().split()[2:] == [str(tmp_path), value, "1", "1"]


def test_workers_come_from_a_new_server_where_the_old_one_is_dying(
    going_wrong, tmp_path, monkeypatch
):
    path = going_wrong()
    api.run(path, store=tmp_path / "first", workers=1)
    server, waitpid, looks = forkserver._forkserver._forkserver_pid, os.waitpid, []
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)

    def waits(pid: int, options: int):
        looks.append(pid)
        return (0, 0) if looks.count(server) <= 4 and pid == server else waitpid(pid, options)

    monkeypatch.setattr(os, "waitpid", waits)
    assert (
        api.run(path, store=tmp_path / "second", workers=1).outcome.failed == {}
        and looks.count(server) > 4
    )


def cell(seed: int, label: str = "") -> Cell:
    return Cell(f"{label}{seed}", "train", {"seed": seed}, None, "learner", "", label)


def local(tmp_path: Path, **options) -> Local:
    return Local(Local.Config(workers=3, **options), Conditions(Store(tmp_path)))


def test_a_cell_starts_when_it_fits_beside_those_under_way(tmp_path, monkeypatch):
    executor = local(tmp_path)
    monkeypatch.setattr(memory, "available", lambda: executor.reserve + 3 * GIB)
    monkeypatch.setattr(executor, "_used", lambda worker: {0: GIB}.get(worker, 0))
    executor.peaks = {
        ("learner", "", "train", "large"): 4 * GIB,
        ("learner", "", "train", "small"): GIB,
    }
    assert executor.room(0, cell(0, "large")), "a cell that runs alone is always tried"
    executor.cells[0] = cell(0, "small")
    assert (
        executor.room(1, cell(1, "small"))
        and executor.room(1, cell(0, "unknown"))
        and not executor.room(1, cell(1, "large"))
    )
    executor.cells[0] = cell(0, "large")  # which has 3 GiB to go
    assert not executor.room(1, cell(1, "small")) and executor.room(1, cell(0, "unknown"))


def test_what_is_said_of_memory_holds_until_it_has_been_measured(tmp_path, monkeypatch):
    executor = local(tmp_path, memory=2.0)
    monkeypatch.setattr(memory, "available", lambda: executor.reserve + 3 * GIB)
    executor.cells[0] = cell(0)
    assert not executor.room(1, cell(1)), "two of 2 GiB do not fit into 3"
    executor.peaks = {("learner", "", "train", ""): GIB}
    assert executor.room(1, cell(1))


def test_where_memory_runs_short_a_cell_is_stopped_and_tried_again(
    reference, tmp_path, monkeypatch
):
    path, run = reference
    short, stopped = [False], []
    monkeypatch.setattr(memory, "available", lambda: 0 if short[0] else memory.PLENTY)
    receive, make_room = Local.receive, Local._make_room

    def scarce(self, timeout):
        short[0] = len(self.cells) == 2 and len(stopped) < 3
        yield from receive(self, 0.01 if short[0] else timeout)

    monkeypatch.setattr(Local, "receive", scarce)
    monkeypatch.setattr(Local, "_make_room", lambda self: stopped.append(1) or make_room(self))
    again = api.run(path, store=tmp_path / "store", workers=2)
    assert (
        len(stopped) == 3
        and again.outcome.failed == {}
        and measured(again.results) == measured(run.results)
    )


def test_workers_are_as_many_as_processors_if_nothing_is_said(tmp_path):
    assert Local(Local.Config(), Conditions(Store(tmp_path))).size == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("executor", "options", "words"),
    [
        ("locl", {}, "did you mean 'local'"),
        ("local", {"address": "auto"}, "unknown key 'address'"),
        ("local", {"workers": 0}, "greater than or equal to 1"),
        ("ray", {"gpus": -1}, "greater than or equal to 0"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(
    reference, tmp_path, executor, options, words
):
    from harness.errors import HarnessError

    with pytest.raises(HarnessError) as caught:
        api.run(reference[0], store=tmp_path / "store", executor=executor, options=options)
    assert words in str(caught.value) and not (tmp_path / "store").exists()


INLINE = '''
from harness import registry
from harness.execute import work
from harness.execute.base import Executor

class Inline(Executor):
    """One cell after another, in this process."""
    Config = registry.Config
    size, cell = 1, None
    def __exit__(self, *_):
        pass
    def idle(self):
        return [0] if self.cell is None else []
    def start(self, worker, cell):
        self.cell = cell
    def stop(self, worker):
        self.cell = None
    def receive(self, timeout):
        cell, self.cell = self.cell, None
        if cell:
            yield 0, work.attempt(cell, self.conditions, lambda event: None)
'''


def test_one_file_adds_an_executor(reference, tmp_path, monkeypatch):
    (tmp_path / "inline.py").write_text(INLINE)
    monkeypatch.syspath_prepend(tmp_path)
    path, run = reference
    assert measured(
        api.run(path, store=tmp_path / "store", executor="inline:Inline").results
    ) == measured(run.results)


def test_every_executor_is_described():
    assert list(executors) == ["local", "ray"] and all(
        executors.describe(name) for name in executors
    )
    assert all(
        field.description
        for name in executors
        for field in executors[name].Config.model_fields.values()
    )
