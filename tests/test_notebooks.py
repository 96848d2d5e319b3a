"""The notebooks run from top to bottom, and name only what exists."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    content = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def test_there_are_three():
    assert {path.stem for path in NOTEBOOKS} == {"own-rule", "own-network", "reading-results"}


@EACH
def test_it_is_stored_without_outputs(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def is_harness(node):
    """Whether it is ``harness.NAME``."""
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "harness"


@EACH
def test_its_code_calls_what_the_package_has(path):
    calls = 0
    for node in ast.walk(ast.parse("\n".join(cells(path)))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), {})
        if is_harness(node):
            assert node.attr in harness.__all__, node.attr
        if isinstance(node, ast.Call) and is_harness(node.func):
            calls += 1
            known = inspect.signature(getattr(harness, node.func.attr)).parameters
            takes_any = any(each.kind is each.VAR_KEYWORD for each in known.values())
            assert all(word.arg in known or takes_any for word in node.keywords)
    assert calls >= 3


@EACH
def test_its_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)", "\n".join(cells(path, "markdown")))
    assert links
    for link in links:
        assert (path.parent / link).exists(), link


def test_reading_results_runs_as_plain_code(tmp_path, monkeypatch):
    """Fast, because it computes nothing; without a kernel."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    (path,) = [each for each in NOTEBOOKS if each.stem == "reading-results"]
    names: dict = {}
    for cell in cells(path):
        exec(compile(cell, path.name, "exec", dont_inherit=True), names)
    assert list(names["summary"].learner)[0] == names["best"].learner
    assert (tmp_path / "exported" / "README.md").exists()


@pytest.mark.slow
@EACH
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
    pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=place).execute()
    ended = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert len(ended) > 3
