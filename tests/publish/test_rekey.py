"""Cells that differ in code alone: named by `plan --why`, kept by `store rekey`."""

from __future__ import annotations

import numpy as np
import pytest

from harness import api
from harness.cells import entries
from harness.cells.likeness import stale_cells
from harness.cells.plan import make
from harness.publish.rekey import rekey_store
from harness.storage.store import Store
from harness.suite.load import load

SUITE = """
name: kept
seeds: [0]
learners:
  pixels: {kind: nearest-mean}
  random: {kind: random-features, width: 20}
protocols:
  plain: {kind: classification, dataset: digits}
  robust:
    {kind: attack_sweep, dataset: digits, images: 20, attacks: [{attack: fgsm, eps: [0, 0.1]}]}
"""

CHANGED = "harness.attacks.fgsm:FGSM"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The suite's file, and a store with all of its cells."""
    folder = tmp_path_factory.mktemp("kept")
    path = folder / "kept.yaml"
    path.write_text(SUITE)
    run = api.run(path, store=folder / "store", workers=1)
    assert not run.outcome.failed
    return path, folder / "store", run


@pytest.fixture
def changed_code(monkeypatch):
    """FGSM is other code from now on, for keys and for the definitions that they come from."""
    definitions, version = entries.definitions, entries.version

    def other_definitions(places):
        found = dict(definitions(places))
        if CHANGED in found:
            found[CHANGED] = "0" * 16
        return found

    def other_version(places):
        return version(places)[:-1] + "x" if CHANGED in definitions(places) else version(places)

    monkeypatch.setattr(entries, "definitions", other_definitions)
    monkeypatch.setattr(entries, "version", other_version)


def test_trust_checks_are_cells_that_follow_their_sweep(ran):
    _, _, run = ran
    roles = [cell.role for cell in run.plan.unique]
    assert roles.count("train") == 2 and roles.count("measure") == 4 and roles.count("trust") == 2
    keys = {cell.key: cell for cell in run.plan.unique}
    for cell in run.plan.unique:
        if cell.role == "trust":
            assert keys[cell.needs].role == "measure" and cell.training == keys[cell.needs].training
            assert len(run.results.trust[cell.needs]) > 5


def test_stale_cells_name_the_definition_that_changed(ran, changed_code):
    path, store, _ = ran
    plan = make(load(path))
    stale = list(stale_cells(plan, Store(store)))
    assert {each.cell.role for each in stale} == {"measure", "trust"}
    assert {each.cell.protocol for each in stale} == {"robust"}
    assert all(each.changes == [f"{CHANGED} changed"] for each in stale)


def test_without_a_change_nothing_is_stale(ran):
    path, store, _ = ran
    assert not list(stale_cells(make(load(path)), Store(store)))


def test_rekeyed_cells_are_found_and_hold_the_same(ran, changed_code):
    path, folder, run = ran
    store = Store(folder)
    moved = rekey_store(load(path), store)
    assert sorted(each.cell.role for each in moved) == ["measure"] * 2 + ["trust"] * 2
    again = api.run(path, store=folder, workers=1)
    assert not again.outcome.done
    before = [(r.learner, r.setting, r.value, r.low, r.high, r.trust) for r in run.results.records]
    after = [(r.learner, r.setting, r.value, r.low, r.high, r.trust) for r in again.results.records]
    assert after == before
    for each in moved:
        if each.cell.role == "measure":
            old, new = store.arrays(each.older), store.arrays(each.cell.key)
            assert old.keys() == new.keys()
            assert all(np.array_equal(old[name], new[name], equal_nan=True) for name in old)
    assert not rekey_store(load(path), store)
