"""What a cell reads of others, and how a task on a node of a cluster gets it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from harness.cells.cell import Cell
from harness.errors import StoreError
from harness.execute import forecast
from harness.execute.base import prerequisites
from harness.execute.ray_desk import read_cell
from harness.execute.ray_node import CarriedStore
from harness.storage.store import SNAPSHOTS, VERDICTS, WEIGHTS, CellResult, Store


def a_cell(role: str, needs: str | None = None, **identity) -> Cell:
    return Cell("key", role, {"seed": 0, **identity}, needs, "learner", "protocol", "")


@pytest.mark.parametrize(
    ("cell", "training", "needed"),
    [
        (a_cell("train"), None, []),
        (a_cell("match"), None, []),
        (a_cell("match", "t", training="t"), "t", ["t"]),
        (a_cell("measure", "t", training="t"), "t", ["t"]),
        (a_cell("measure", None, training=None), None, []),
        (a_cell("trust", "m", training="t"), "t", ["t", "m"]),
        (a_cell("trust", "m", training=None), None, ["m"]),
    ],
)
def test_what_a_cell_reads(cell, training, needed):
    assert cell.training == training
    assert prerequisites(cell) == needed


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with a training and its measurement."""
    store = Store(tmp_path)
    store.prepare()
    states = {WEIGHTS: {"w": np.ones(2)}, SNAPSHOTS: {"1/w": np.zeros(2)}}
    learner = {"kind": "mlp", "config": {}}
    dataset = {"kind": "digits", "config": {}, "content": "0"}
    common = {"seed": 0, "learner": learner, "dataset": dataset}
    training = {**common, "role": "train", "splitting": "standard", "labelled": True}
    measured = {**common, "role": "measure", "training": "t", "setting": {}}
    measured["protocol"] = {"kind": "classification"}
    store.write("t", CellResult(training), states)
    store.write("m", CellResult(measured), {VERDICTS: {"correct": np.arange(3)}})
    return store


def test_a_check_on_a_node_reads_weights_and_verdicts(store):
    cell = a_cell("trust", "m", training="t")
    sent = {key: read_cell(store, key) for key in prerequisites(cell)}
    carried = CarriedStore(cell, sent, desk=None)
    for key, name in (("t", WEIGHTS), ("t", SNAPSHOTS), ("m", VERDICTS)):
        assert carried.read(key) == store.read(key)
        for array, value in store.arrays(key, name).items():
            np.testing.assert_array_equal(carried.arrays(key, name)[array], value)
    carried.arrays("m")["correct"][0] = 7
    assert carried.arrays("m")["correct"][0] == 0, "a copy, which may be written"
    with pytest.raises(StoreError, match="has no weights"):
        carried.arrays("m", WEIGHTS)


def test_a_damaged_cell_is_not_sent(store):
    path = store.root / "cells" / "m" / VERDICTS
    path.write_bytes(path.read_bytes()[:-1])
    assert read_cell(store, "m") is None and read_cell(store, "nothing") is None


def test_weights_are_verified_if_a_missing_check_needs_them(store):
    """The measurement is done, so its training is read for nothing but the check."""
    path = store.root / "cells" / "t" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    train = replace(a_cell("train"), key="t")
    measure = replace(a_cell("measure", "t", training="t"), key="m")
    check = replace(a_cell("trust", "m", training="t"), key="c")

    def unfinished(*cells):
        return forecast.unfinished(SimpleNamespace(unique=[*cells], relatives=[]), store.unfinished)

    assert unfinished(train, measure) == []
    missing = unfinished(train, measure, check)
    assert missing == [train, check], "a damaged training is computed again"
