"""What is derived from the cells of a stream, and its pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness import api
from harness.metrics import continual
from harness.publish.shown import shown_arrays
from harness.report.figures import draw
from harness.report.streams import matrices_of, with_streams
from harness.report.tables import build_all

SUITE = {
    "name": "streams",
    "learners": {"bp": {"kind": "mlp", "hidden": [8]}, "ncm": {"kind": "nearest-mean"}},
    "protocols": {
        "split": {
            "kind": "continual",
            "dataset": "mnist5k",
            "orders": 2,
            "passes": 1,
            "strategies": ["naive", "replay-30", "joint"],
            "watch_every": 40,
        }
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return api.run(SUITE, store=tmp_path_factory.mktemp("store"), workers=1).results


def record(results, metric, strategy, learner="bp"):
    (found,) = [
        each
        for each in results.records
        if (each.metric, each.setting["strategy"], each.learner) == (metric, strategy, learner)
    ]
    return found


def test_intransigence_and_the_closed_gap_compare_cells_of_one_learner(results):
    derived = with_streams(results)
    own, joint = (matrices_of(record(results, "accuracy", s), results) for s in ("naive", "joint"))
    expected = np.mean([continual.intransigence(a, b) for a, b in zip(own, joint, strict=True)])
    assert record(derived, "intransigence", "naive").value == pytest.approx(expected)
    closed = record(derived, "closed_gap", "replay-30")
    assert 0 < closed.value < 1 and closed.n == 2
    assert with_streams(derived) is derived


def test_nothing_is_derived_without_joint_training(results):
    rest = [each for each in results.records if each.setting["strategy"] != "joint"]
    without = replace(results, records=rest)
    assert with_streams(without) is without


def test_every_number_can_be_counted_again_from_the_stored_verdicts(results):
    for each in results.records:
        if each.metric != "accuracy":
            continue
        matrices = matrices_of(each, results)
        assert each.value == pytest.approx(np.mean([matrix[-1].mean() for matrix in matrices]))
        shown = shown_arrays(results)[each.cell]
        assert {"correct/0", "task/0", "correct/1", "accuracy", "curve/0"} <= shown


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4), np.uint8), np.zeros(4, np.int64), np.full(4, 2**40)]
)
def test_verdicts_of_no_stream_give_no_numbers(results, array):
    odd = replace(results, verdicts=lambda cell, name: array)
    assert matrices_of(record(results, "accuracy", "naive"), odd) == []


def test_strategies_are_columns_from_none_to_joint_training(results):
    (table,) = build_all(results, [])
    assert [column[0] for column in table.columns] == ["naive", "replay-30", "joint"]
    assert "class-incremental: the task is not told" in table.block["scenario"]


@pytest.mark.parametrize(("name", "panels"), [("split", 6), ("split-tasks", 6), ("split-gap", 4)])
def test_figures_have_a_panel_for_each_learner_and_strategy(results, name, panels):
    figure = draw(results, name=name)
    titled = [axis.get_title(loc="left") for axis in figure.axes]
    assert len([*filter(None, titled)]) == panels
    assert "bp, naive" in titled
