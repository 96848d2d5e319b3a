"""A cell's key: everything that can change its result, and nothing else."""

from __future__ import annotations

import pytest

from harness.cells import plan as planning
from harness.suite import load as suite

SUITE = """
name: planned
seeds: [0, 1]
learners:
  a: {kind: mlp, hidden: 8}
  b: {kind: nearest-mean}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: [2, 5], shots: 1, queries: 5, episodes: 40}
"""


@pytest.fixture
def keys(write_suite):
    """Plan a suite after replacements in its text; keys by (learner, protocol, label, seed)."""

    def plan(*replacements, sets=(), device="cpu", content="hash"):
        text = SUITE
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        layout = planning.make(
            suite.load(write_suite(text), sets=sets), device=device, content_hash=lambda _: content
        )
        return {(c.learner, c.protocol, c.label, c.seed): c.key for c in layout.cells}

    return plan


def changed(before, after):
    return {key for key in before if before[key] != after.get(key)}


def test_the_same_suite_has_the_same_keys(keys):
    assert keys() == keys(
        ("name: planned", "name: other"), ("seeds: [0, 1]", "description: words\nseeds: [0, 1]")
    )


def test_a_learners_config_changes_its_own_cells_only(keys):
    assert {learner for learner, *_ in changed(keys(), keys(("hidden: 8", "hidden: 9")))} == {"a"}


def test_a_protocols_key_changes_its_measurements_and_no_training(keys):
    assert {
        protocol for _, protocol, *_ in changed(keys(), keys(("episodes: 40", "episodes: 41")))
    } == {"few"}


@pytest.mark.parametrize("how", [{"content": "other"}, {"device": "cuda"}])
def test_data_and_device_change_every_key(keys, how):
    before = keys()
    assert changed(before, keys(**how)) == set(before)


def test_a_budget_changes_every_key(keys):
    before = keys()
    assert changed(before, keys(sets=["budget.images=100"])) == set(before)


def test_a_new_seed_or_learner_leaves_the_others_alone(keys):
    before = keys()
    after = keys(
        ("seeds: [0, 1]", "seeds: [0, 1, 2]"),
        ("learners:", "learners:\n  c: {kind: mlp, hidden: 5}"),
    )
    assert changed(before, after) == set() and len(after) > len(before)


def test_equal_learners_under_two_names_are_one_cell(write_suite):
    text = SUITE.replace("learners:", "learners:\n  twin: {kind: mlp, hidden: 8}")
    layout = planning.make(suite.load(write_suite(text)), content_hash=lambda _: "hash")
    by_name = {name: {c.key for c in layout.cells if c.learner == name} for name in ("a", "twin")}
    assert by_name["a"] == by_name["twin"] and len(layout.unique) < len(layout.cells)


def test_training_comes_before_what_needs_it(write_suite):
    layout = planning.make(suite.load(write_suite(SUITE)), content_hash=lambda _: "hash")
    seen = set()
    for cell in layout.unique:
        assert cell.needs is None or cell.needs in seen
        seen.add(cell.key)


ROBUST = """
  robust:
    kind: attack_sweep
    dataset: digits
    attacks: [{attack: pgd, eps: [0.1]}, {attack: noise, eps: [0.1]}]
"""


def test_relatives_are_trained_once_and_only_for_attacks_that_climb(write_suite):
    layout = planning.make(suite.load(write_suite(SUITE + ROBUST)), content_hash=lambda _: "hash")
    assert [cell.identity["learner"]["kind"] for cell in layout.relatives] == ["mlp", "prototypes"]
    assert not {cell.key for cell in layout.relatives} & {cell.key for cell in layout.cells}
    keys = [cell.key for cell in layout.relatives]
    for cell in layout.unique:
        needs_them = cell.role == "trust" and cell.label.startswith("pgd")
        assert cell.relatives == (keys if needs_them else [])


def test_relatives_run_before_the_trust_checks_that_read_them(write_suite, tmp_path):
    from harness.execute.base import prerequisites
    from harness.execute.session import unfinished
    from harness.storage.store import Store

    layout = planning.make(suite.load(write_suite(SUITE + ROBUST)), content_hash=lambda _: "hash")
    todo = {cell.key for cell in unfinished(layout, Store(tmp_path).unfinished)}
    assert {cell.key for cell in layout.relatives} <= todo
    for cell in layout.unique:
        assert set(prerequisites(cell)) <= todo
