"""Exports and summaries from Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parents[2]


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "exports.md").read_text(), re.S)
    names: dict = {}
    exec(compile(code, "exports.md", "exec", dont_inherit=True), names)
    assert {path.name for path in names["written"]} == {"numbers.csv", "records.csv", "README.md"}
    assert (tmp_path / "profiles.png").read_bytes().startswith(b"\x89PNG")
    rows = names["rows"]
    assert list(rows.iqm) == sorted(rows.iqm, reverse=True)
    assert set(rows.against) == {"bio"} and rows.better.notna().sum() == len(rows) - 1
    assert (rows.low < rows.iqm).all() and (rows.iqm < rows.high).all()


def test_an_unknown_format_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(harness.HarnessError, match="did you mean 'dataset'"):
        harness.export("results/quickstart", "datset", tmp_path)
