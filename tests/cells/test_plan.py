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


MODULE = '''
"""Docstring."""
import os
from {package}.inner import thing

def function():
    """Another."""
    return thing + {number}  # a comment
'''


def version_of(tmp_path, monkeypatch, package, text, inner="thing = 1\n"):
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "inner.py").write_text(inner)
    (folder / "outer.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(planning, "OURS", (package,))
    return planning.code_version(f"{package}.outer").replace(package, "")


def test_code_counts_and_comments_do_not(tmp_path, monkeypatch):
    def version(name, text, **inner):
        planning._tree.cache_clear()
        (tmp_path / name).mkdir()
        return version_of(
            tmp_path / name,
            monkeypatch,
            "pkg" + name,
            text.format(package="pkg" + name, number=1),
            **inner,
        )

    closures = {}
    for name, text, inner in [
        ("a", MODULE, "thing = 1\n"),
        (
            "b",
            MODULE.replace("# a comment", "# other words").replace("Another", "More"),
            "thing = 1\n",
        ),
        ("c", MODULE.replace("{number}", "2"), "thing = 1\n"),
        ("d", MODULE, "thing = 2\n"),
    ]:
        version(name, text, inner=inner)
        package = "pkg" + name
        closures[name] = [
            planning._code(f"{package}.{module}").replace(package, "pkg")
            for module in ("inner", "outer")
        ]
    assert closures["a"] == closures["b"]
    assert closures["a"] != closures["c"] and closures["a"] != closures["d"]


def test_code_beside_a_learner_counts_too(tmp_path, monkeypatch):
    (tmp_path / "besides").mkdir()
    (tmp_path / "loose_helper.py").write_text("x = 1\n")
    (tmp_path / "besides" / "__init__.py").write_text("")
    (tmp_path / "besides" / "base.py").write_text("y = 1\n")
    (tmp_path / "besides" / "mine.py").write_text(
        "import torch\nimport json\nimport loose_helper\nfrom .base import y\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert planning._closure("besides.mine") == {"besides.mine", "besides.base", "loose_helper"}


def test_a_module_counts_all_that_it_imports(tmp_path, monkeypatch):
    version_of(tmp_path, monkeypatch, "pkgdeps", MODULE.format(package="pkgdeps", number=1))
    assert planning._closure("pkgdeps.outer") == {"pkgdeps.inner", "pkgdeps.outer"}
