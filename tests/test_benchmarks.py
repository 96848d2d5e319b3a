"""Benchmarks are run by hand, so a fast test checks that they still fit the code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = sorted((ROOT / "tests" / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_everything_that_a_benchmark_imports_exists(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module.partition(".")[0] not in ("harness", "baselines"):
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def loaded(name: str, monkeypatch):
    """The module of a benchmark."""
    path = ROOT / "tests" / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_planted_regressions_match_the_code(monkeypatch):
    gate = loaded("gate", monkeypatch)
    for file, text, replacement in gate.PLANTED.values():
        source = (ROOT / file).read_text()
        assert source.count(text) == 1, (file, text)
        ast.parse(source.replace(text, replacement))


COSTS = """
name: costs
seeds: [0]
learners:
  small: {kind: mlp, hidden: 10}
  large: {kind: mlp, hidden: 1000}
  fronted: {kind: mlp, hidden: 10, front: pixel-sigmoid}
  drtp: {kind: drtp, hidden: 900}
  conv: {kind: drtp, channels: [4], hidden: []}
  absent: {kind: fly}
protocols:
  clean: {kind: classification, dataset: digits}
"""


def test_a_training_is_compared_with_the_backprop_whose_size_is_nearest(tmp_path, monkeypatch):
    cost = loaded("families_cost", monkeypatch)
    (tmp_path / "suite.yaml").write_text(COSTS)
    entries = cost.load(tmp_path / "suite.yaml").learners
    seconds = {"small": 1.0, "large": 10.0, "fronted": 2.0, "drtp": 30.0, "conv": 50.0}
    trainings = []
    for entry in entries:
        if entry.name in seconds:
            known = {"kind": entry.cls.kind, "config": entry.settled}
            known["config"].pop("kernel", None)  # as before the learner had this key
            result = cost.CellResult({"role": "train", "learner": known})
            result.log, result.wall_s = {"images_seen": 1000}, seconds[entry.name]
            trainings.append(result)
    lines = [line.split("\t") for line in cost.table(cost.costs(entries, trainings)).split("\n")]
    assert [line[0] for line in lines[1:]] == ["small", "fronted", "large", "drtp", "conv"]
    rows = {line[0]: line for line in lines}
    assert rows["drtp"][2:] == ["30", "30000", "3.00", "large", "1.11 x"]
    assert rows["fronted"][4:] == ["2.00", "small", "1.00 x"]
    assert rows["conv"][4:] == ["-", "-", "-"]
