"""Locales, encodings and closed streams: no traceback, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale in which text files are ASCII for whoever names no encoding."""


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "harness", *map(str, words)]


def call(*words: object, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*words), capture_output=True, check=False, timeout=120, env={**os.environ, **env}
    )


@pytest.mark.parametrize(
    "env, shown",
    [
        ({"PYTHONIOENCODING": "ascii"}, rb"\xb1"),
        ({"PYTHONIOENCODING": "cp1252"}, "±".encode("cp1252")),
        (ASCII, rb"\xb1"),
    ],
    ids=["ascii", "cp1252", "locale"],
)
def test_an_answer_is_shown_in_any_encoding(ran, env, shown):
    folder, _ = ran
    place = ("--store", folder / "store", "--format", "terminal")
    answer = call("table", folder / "tiny.yaml", *place, **env)
    assert answer.returncode == 0, answer.stderr
    assert shown in answer.stdout


def test_what_is_written_does_not_depend_on_the_locale(ran, tmp_path):
    folder, _ = ran
    answer = call("run", folder / "tiny.yaml", "--store", tmp_path / "store", **ASCII)
    assert answer.returncode == 0, answer.stderr
    tables = tmp_path / "store" / "tables" / "tiny"
    for name in ("plain.md", "plain.tex", "plain.csv"):
        assert (tables / name).read_bytes() == (folder / "store/tables/tiny" / name).read_bytes()


def test_closed_streams_take_nothing_from_a_run(ran, tmp_path):
    folder, _ = ran
    words = command("run", folder / "tiny.yaml", "--store", tmp_path / "store", "--workers", "1")
    ended = subprocess.run(
        ["bash", "-c", '"$@" >&- 2>&- <&-', "bash", *words], capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    tables = tmp_path / "store" / "tables" / "tiny"
    assert (tables / "plain.md").read_bytes() == (
        folder / "store/tables/tiny/plain.md"
    ).read_bytes()
    again = call("store", "verify", tmp_path / "store")
    assert again.returncode == 0, "what was printed went into a file of the store"


def test_a_suite_whose_name_is_not_utf_8_runs(ran, tmp_path):
    folder, _ = ran
    path = os.fsencode(tmp_path / "caf") + b"\xe9.yaml"
    try:
        with open(path, "wb") as file:
            file.write((folder / "tiny.yaml").read_bytes())
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    answer = call("run", os.fsdecode(path), "--store", folder / "store", "--out", tmp_path / "out")
    assert answer.returncode == 0, answer.stderr
    assert b"caf\\udce9.yaml" in (tmp_path / "out" / "provenance.json").read_bytes()
