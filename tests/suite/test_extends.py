"""Suites that extend many others: every file is read once, and what is too much is one message."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.suite import marked_yaml, tree

SUITE = """
name: x
learners: {mlp: {kind: mlp, hidden: 8}}
protocols: {plain: {kind: classification, dataset: digits}}
"""


def chain(folder: Path, length: int, *, twice: bool) -> Path:
    """Files that each extend the one before, in a list that names it once or twice."""
    path = folder / "0.yaml"
    path.write_text(SUITE)
    for number in range(1, length):
        name = f"{number - 1}.yaml"
        path = folder / f"{number}.yaml"
        path.write_text(f"extends: [{name}{', ' + name if twice else ''}]\n")
    return path


def test_a_fan_reads_each_file_once(tmp_path, monkeypatch):
    """Read at every mention, 15 files are 2**14 reads."""
    read = []

    once = marked_yaml.read

    def counted(path):
        read.append(path.name)
        return once(path)

    monkeypatch.setattr(marked_yaml, "read", counted)
    source = tree.read_tree(chain(tmp_path, 15, twice=True))
    assert sorted(read) == sorted(f"{number}.yaml" for number in range(15))
    assert source.value["learners"] == {"mlp": {"kind": "mlp", "hidden": 8}}
    assert Path(source.where(("learners", "mlp", "hidden")).file).name == "0.yaml"


def test_a_long_chain_is_one_message(tmp_path):
    with pytest.raises(SuiteError, match=r"\.yaml:1:10: too many files extend one another"):
        tree.read_tree(chain(tmp_path, 2 * tree.DEEPEST, twice=False))


def test_a_long_list_is_one_message(tmp_path):
    base = chain(tmp_path, 1, twice=False)
    path = tmp_path / "many.yaml"
    path.write_text(f"extends: [{', '.join([base.name] * (tree.MOST_MERGES + 1))}]\n")
    with pytest.raises(SuiteError, match=r"many\.yaml:1:10: too many files"):
        tree.read_tree(path)


def many(letter: str, file: str) -> marked_yaml.Source:
    """2,000 learners whose names begin with a letter."""
    lines = [f"  {letter}{number}: {{kind: mlp, hidden: 8}}\n" for number in range(2_000)]
    return marked_yaml.parse("learners:\n" + "".join(lines), file)


def test_large_files_are_merged_in_time_that_grows_with_their_size(tmp_path):
    """2,000 entries over 2,000: comparing each with each takes longer than reading them."""
    began = time.process_time()
    under = many("a", "under")
    over = many("b", "over")
    read_s = time.process_time() - began
    merged = marked_yaml.merge(under, over)
    merged_s = time.process_time() - began - read_s
    assert merged_s < read_s / 2
    assert len(merged.value["learners"]) == 4_000
    assert merged.where(("learners", "a7", "hidden")).file == "under"
    assert merged.where(("learners", "b7", "hidden")).file == "over"


def test_a_value_that_is_replaced_leaves_no_places_behind():
    under = marked_yaml.parse("a: {b: {c: 1, d: [1, 2]}, e: 5}", "under")
    over = marked_yaml.parse("a: {b: [7], f: 6}", "over")
    merged = marked_yaml.merge(under, over)
    assert merged.value == {"a": {"b": [7], "e": 5, "f": 6}}
    places = {".".join(map(str, path)): mark.file for path, mark in merged.values.items()}
    expected = {"": "over", "a": "over", "a.b": "over", "a.b.0": "over", "a.e": "under"}
    assert places == {**expected, "a.f": "over"}
    keys = {".".join(map(str, path)): mark.file for path, mark in merged.keys.items()}
    assert keys == {"a": "over", "a.b": "over", "a.e": "under", "a.f": "over"}
