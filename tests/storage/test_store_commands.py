"""`harness store`, and suites run into stores of every kind."""

from __future__ import annotations

import json
import sys

import pytest
from made_up import fill
from typer.testing import CliRunner

from harness import api
from harness.cli import app
from harness.errors import StoreError
from harness.storage import compaction, garbage
from harness.storage.store import VERDICTS, Store

SUITE = """
name: small
learners: {pixels: {kind: nearest-mean}}
protocols: {plain: {kind: classification, dataset: digits}}
"""


def harness(*words: str):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def test_verify_says_what_is_damaged_and_repair_moves_it_aside(local):
    key = next(iter(fill(local)))
    assert harness("store", "verify", local.root).exit_code == 0
    (local.root / "cells" / key / VERDICTS).write_bytes(b"?")
    (local.root / "cells" / key / "notes.txt").write_bytes(b"?")
    found = harness("store", "verify", local.root)
    assert (
        found.exit_code == 1
        and f"damaged: cells/{key}/{VERDICTS}: truncated: 1 of 206 bytes" in found.stdout
    )
    assert (
        f"orphaned: cells/{key}/notes.txt" in found.stdout and "3 cells, 2 faults" in found.stdout
    )
    assert harness("store", "verify", local.root, "--repair").exit_code == 0
    report = json.loads(harness("store", "verify", local.root, "--json").stdout)
    assert report == {"cells": 2, "sound": True, "faults": [], "repaired": []}


def test_gc_lists_before_it_removes(local, monkeypatch):
    monkeypatch.setattr(garbage, "STALE_S", -1)
    key = next(iter(fill(local, 1, "train")))
    listed = harness("store", "gc", local.root)
    assert (
        f"cells/{key}: a training that no measurement here was made from" in listed.stdout
        and local.done(key)
    )
    assert "1 removed" in harness("store", "gc", local.root, "--delete").stdout and not local.done(
        key
    )
    assert json.loads(harness("store", "gc", local.root, "--json").stdout) == []


def test_compact_says_what_it_did(local):
    pytest.importorskip(
        "pyarrow", reason="pyarrow is not installed: pip install 'bioharness[parquet]'"
    )
    fill(local)
    done = harness("store", "compact", local.root)
    assert (
        done.exit_code == 0
        and "3 cells packed into 1 packs" in done.output
        and len(Store(local.root).finished()) == 3
    )


def test_compact_without_pyarrow_is_one_clear_error(local, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match="pyarrow is not installed"):
        compaction.compact(local)


def test_a_suite_runs_into_any_store_and_resumes_from_it(root, write_suite):
    if root.startswith("memory"):
        pytest.skip("what is in memory is not seen by worker processes")
    suite = write_suite(SUITE)
    first, again = (api.run(suite, store=root, workers=1) for _ in range(2))
    assert first.outcome.failed == {} and len(first.outcome.done) == 2 and again.outcome.done == []
    assert again.results.records == first.results.records and len(api.load(root)) == len(
        first.results.records
    )
    cell = first.results.records[0].cell
    shown = harness("show", cell[:10], "--store", root)
    assert json.loads(shown.stdout)["files"] == ["cell.json", VERDICTS]
    assert "pixels" in harness("table", suite, "--store", root).stdout
