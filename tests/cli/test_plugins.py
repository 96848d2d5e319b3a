"""Modules of the user: in the working folder, beside the suite, broken, or named by a stranger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_kit import harness

from harness.cells import code

SUITE = """
name: x
learners: {{mine: {{kind: "{kind}"}}}}
protocols: {{plain: {{kind: classification, dataset: digits}}}}
"""
MINE = """
from baselines.nearest_mean import NearestMean
class Mine(NearestMean):
    "Mine."
"""


def suite(folder: Path, kind: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(SUITE.format(kind=kind))
    return path


def process(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own, in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def test_files_of_the_working_folder_replace_no_library(tmp_path):
    for name in ("yaml", "random", "baselines", "typer", "numpy", "torch", "signal"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the file of the user')")
    (tmp_path / "mine.py").write_text(MINE)
    ended = process(tmp_path, "run", suite(tmp_path, "mine:Mine"), "--store", "s", "--workers", "2")
    assert ended.returncode == 0 and "2 cells computed" in ended.stderr, ended.stderr


def test_a_module_of_the_working_folder_can_be_named_from_another(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine_of_here.py").write_text(MINE)
    (tmp_path / "there").mkdir()
    path = suite(tmp_path / "there", "mine_of_here:Mine")
    ended = process(tmp_path / "here", "validate", path)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "text, reason",
    [
        ("class Stop(BaseException): pass\nraise Stop('here')", "Stop: here"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nothing_of_this_name", "No module named"),
        ("x = (", "was never closed"),
    ],
    ids=["base", "exit", "import", "syntax"],
)
def test_a_plugin_that_cannot_be_imported_is_one_message(tmp_path, text, reason):
    name = f"broken_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    answer = harness("validate", suite(tmp_path, f"{name}:Mine"))
    assert answer.returncode == 2
    assert f"cannot load learner '{name}:Mine'" in answer.stderr and reason in answer.stderr
    assert len(answer.stderr.splitlines()) == 2


def test_a_name_that_an_installed_module_has_says_which_file_was_imported(tmp_path):
    (tmp_path / "random.py").write_text(MINE)
    answer = harness("validate", suite(tmp_path, "random:Mine"))
    import random

    assert answer.returncode == 2 and f"({random.__file__}) has no 'Mine'" in answer.stderr


def test_a_class_of_a_script_says_where_to_put_it(tmp_path):
    answer = harness("validate", suite(tmp_path, "__main__:Mine"))
    assert answer.returncode == 2 and "mine.py: mine:Mine" in answer.stderr


FORMS = [
    'learners: {mine: {kind: "stranger:Mine"}}\n'
    "protocols: {plain: {kind: classification, dataset: digits}}",
    "learners: {pixels: {kind: nearest-mean}}\n"
    'protocols: {plain: {kind: "stranger:Mine", dataset: digits}}',
    "learners: {pixels: {kind: nearest-mean}}\n"
    'protocols: {plain: {kind: classification, dataset: {kind: "stranger:Mine"}}}',
    "learners: {pixels: {kind: nearest-mean}}\n"
    "protocols: {plain: {kind: attack_sweep, dataset: digits, "
    'attacks: [{attack: "stranger:Mine"}]}}',
    'learners: {mine: {kind: network, module: "stranger:Mine"}}\n'
    "protocols: {plain: {kind: classification, dataset: digits}}",
    'defaults: {learners: {"stranger:Mine": {}}}\nlearners: {pixels: {kind: nearest-mean}}\n'
    "protocols: {plain: {kind: classification, dataset: digits}}",
]


@pytest.mark.parametrize(
    "text", FORMS, ids=["learner", "protocol", "dataset", "attack", "network", "default"]
)
def test_no_plugins_imports_nothing_that_a_suite_names(tmp_path, text):
    trace = tmp_path / "imported"
    (tmp_path / "stranger.py").write_text(f"open({str(trace)!r}, 'w').close()")
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\n{text}\n")
    answer = process(tmp_path, "validate", "--no-plugins", path)
    assert answer.returncode == 2 and "stranger:Mine" in answer.stderr, answer
    assert "Traceback" not in answer.stderr
    assert not trace.exists()


def test_no_plugins_finds_no_fault_in_a_suite_without_them(ran):
    folder, _ = ran
    assert harness("validate", "--no-plugins", folder / "tiny.yaml").returncode == 0


LEARNERS = {
    "bom": "\ufeff".encode() + MINE.encode(),
    "cookie": ("# -*- coding: latin-1 -*-" + MINE.replace("Mine.", "Mine é.")).encode("latin-1"),
    "crlf": MINE.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("form", LEARNERS)
def test_a_learner_is_read_in_the_encoding_that_python_reads_it_in(tmp_path, monkeypatch, form):
    (tmp_path / f"learner_{form}.py").write_bytes(LEARNERS[form])
    answer = harness("plan", suite(tmp_path, f"learner_{form}:Mine"), "--store", tmp_path / "s")
    assert answer.returncode == 0, answer.stderr
    names = code.definitions((f"learner_{form}:Mine",))
    assert f"learner_{form}:Mine" in names
