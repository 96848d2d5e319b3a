"""A Ray cluster of two nodes: the same values, whatever happens to nodes, workers or driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from runs_kit import MATCHED, SUITE, WAITING, Watch, interrupted, measured

from harness import api
from harness.cells import collect
from harness.cells.run import Conditions
from harness.errors import HarnessError
from harness.execute import schedule
from harness.execute.ray import Ray, room_on
from harness.storage.store import Store

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = pytest.mark.ray
MEMORY = {"object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """One node, of one processor; tests add another."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **MEMORY}
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def second(cluster):
    """A second node, of one processor and what Ray takes for a GPU; gone afterwards."""
    node = cluster.add_node(num_cpus=1, num_gpus=1, **MEMORY)
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


def executor(cluster, store: Path, **options) -> Ray:
    Store(store).prepare()
    return Ray(Ray.Config(address=cluster.address, **options), Conditions(Store(store)))


def test_a_node_killed_in_mid_run_costs_nothing_but_time(cluster, second, tmp_path, monkeypatch):
    path, go = tmp_path / "small.yaml", tmp_path / "go"
    (tmp_path / "waiting.py").write_text(WAITING)
    path.write_text(SUITE.replace("  backprop: {kind: mlp", "  waits: {kind: 'waiting:Waits'"))
    go.touch()
    run = api.run(path, store=tmp_path / "local", workers=1)
    go.unlink()

    def lose_a_node():
        cluster.remove_node(second, allow_graceful=False)
        go.touch()

    watch = Watch(running=2, then=lose_a_node)  # one on each node
    under_way, sent = [], []
    start, receive = Ray.start, Ray.receive
    monkeypatch.setattr(
        Ray, "start", lambda self, worker, cell: (sent.append(cell.key), start(self, worker, cell))
    )
    monkeypatch.setattr(
        Ray,
        "receive",
        lambda self, timeout: under_way.append(len(self.tasks)) or receive(self, timeout),
    )
    cells = sorted(run.plan.unique, key=lambda cell: cell.learner != "waits")
    with executor(cluster, tmp_path / "store") as workplace:
        outcome = schedule.run(cells, workplace, workplace.conditions.store, watch)
    everything = sorted(cell.key for cell in cells)
    assert (
        outcome.failed == {}
        and sorted(outcome.done) == everything == Store(tmp_path / "store").finished()
    )
    assert sorted(watch.ends) == everything, "each cell ended once"
    assert len(sent) > len(everything), "what was on the node ran again"
    assert max(under_way) == 4, "twice as many cells as two processors have room for"
    assert measured(collect.collect(run.plan, Store(tmp_path / "store"), {})) == measured(
        run.results
    )


def test_interrupted_and_resumed_it_measures_the_same(reference, cluster, second, tmp_path):
    path, run = reference
    words = path, "--store", tmp_path / "store", "--executor", "ray", "--address", cluster.address
    first = interrupted(*words, after=6)
    assert (
        first.returncode == 130
        and "Traceback" not in first.errors
        and "run the same command to resume" in first.errors
    )
    assert first.stdout.read() == ""
    again = api.run(
        path, store=tmp_path / "store", executor="ray", options={"address": cluster.address}
    )
    assert len(again.outcome.found) >= 4 and again.outcome.failed == {}
    assert len(again.outcome.found) + len(again.outcome.done) == len(run.plan.unique)
    assert measured(again.results) == measured(run.results)


def test_each_way_to_go_wrong_is_one_line_and_stops_nobody_else(going_wrong, cluster, tmp_path):
    path = going_wrong("Raises", "Interrupts", "Exits", "Crashes", "Hangs")
    run = api.run(
        path,
        store=tmp_path / "store",
        executor="ray",
        options={"address": cluster.address},
        time_limit=12,
    )
    died = "the worker process died (os._exit, a segmentation fault, or out of memory)"
    assert {
        cell.learner: run.outcome.failed[cell.key]
        for cell in run.plan.unique
        if cell.role == "train" and cell.key in run.outcome.failed
    } == {
        "raises": "ArithmeticError: as it should",
        "interrupts": "KeyboardInterrupt: ",
        "exits": died,
        "crashes": died,
        "hangs": "stopped: it took longer than the time limit of 12 s",
    }
    assert {record.learner for record in run.results.records} == {"pixels"}


def test_a_match_keeps_each_training_on_its_way(cluster, write_suite, tmp_path):
    path = write_suite(MATCHED)
    here = api.run(path, store=tmp_path / "here", workers=1)
    there = api.run(
        path, store=tmp_path / "there", executor="ray", options={"address": cluster.address}
    )
    assert there.outcome.failed == {} and measured(there.results) == measured(here.results)
    assert Store(tmp_path / "there").finished() == Store(tmp_path / "here").finished()
    assert len(Store(tmp_path / "there").finished()) > len(there.plan.unique), (
        "those that were not chosen, too"
    )


def test_two_runs_on_one_store_do_each_cell_once(reference, cluster, tmp_path):
    """One here and one on the cluster: the driver holds the locks of what its tasks compute."""
    path, run = reference
    with executor(cluster, tmp_path / "store") as workplace:
        store = workplace.conditions.store
        first, other = run.plan.unique[:2]
        workplace.start(0, first)
        with store.lock(first.key) as mine:
            assert not mine
        with store.lock(other.key):
            workplace.start(1, other)
            assert [(worker, event.kind) for worker, event in workplace.receive(0)] == [
                (1, "elsewhere")
            ]
        workplace.stop(0)
        with store.lock(first.key) as mine:
            assert mine


def test_cells_under_way_do_not_notice_that_the_desk_was_killed(cluster, tmp_path):
    with executor(cluster, tmp_path / "store") as workplace:
        for _ in range(3):
            assert ray.get(workplace.desk.take.remote()) == []
            ray.kill(workplace.desk, no_restart=False)
            assert ray.get(workplace.desk.fetch.remote("0" * 24)) is None


def test_a_node_with_other_code_is_refused(reference, cluster, tmp_path):
    cell = next(cell for cell in reference[1].plan.unique if cell.role == "train")
    other = replace(
        cell, identity={**cell.identity, "versions": {**cell.identity["versions"], "torch": "1.0"}}
    )
    with (
        executor(cluster, tmp_path / "store") as workplace,
        pytest.raises(HarnessError, match="torch .* here, 1.0 there"),
    ):
        schedule.run([other], workplace, workplace.conditions.store, Watch())


def test_gpus_can_be_shared(cluster, second, tmp_path):
    with executor(cluster, tmp_path / "store", gpus=0.5) as workplace:
        assert workplace.size == 1, "its one processor is the bound"
    with (
        pytest.raises(
            HarnessError, match="no node of the Ray cluster has what a cell occupies: 1 CPU, 7 GPU"
        ),
        executor(cluster, tmp_path / "store", gpus=7),
    ):
        pass


@pytest.mark.parametrize(
    ("node", "demand", "cells"),
    [
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.0, "memory": 0.0}, 8),
        ({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25, "memory": 0.0}, 4),
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.25, "memory": 0.0}, 0),
        ({"CPU": 8.0, "memory": 5 * 2**30}, {"CPU": 1.0, "GPU": 0.0, "memory": 2 * 2**30}, 2),
    ],
)
def test_room_on_a_node(node, demand, cells):
    assert room_on(node, demand) == cells


def test_a_cluster_that_does_not_answer_is_one_line(reference, tmp_path):
    with pytest.raises(HarnessError, match="cannot connect to a Ray cluster"):
        api.run(
            reference[0],
            store=tmp_path / "store",
            executor="ray",
            options={"address": "127.0.0.1:1"},
        )
