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


def test_planted_regressions_match_the_code(monkeypatch):
    path = ROOT / "tests" / "benchmarks" / "gate.py"
    spec = importlib.util.spec_from_file_location("gate", path)
    gate = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gate", gate)
    spec.loader.exec_module(gate)
    for file, text, replacement in gate.PLANTED.values():
        source = (ROOT / file).read_text()
        assert source.count(text) == 1, (file, text)
        ast.parse(source.replace(text, replacement))
