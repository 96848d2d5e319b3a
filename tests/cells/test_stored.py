"""Results without a suite: what they are called, and what reading them must not do."""

from __future__ import annotations

import sys

from harness.cells.stored import title_of


def test_a_learner_goes_by_its_kind_and_the_keys_that_are_not_at_their_default():
    assert title_of("nearest-mean", {"head": "nearest-mean"}) == "nearest-mean"
    assert title_of("mlp", {"hidden": 7, "epochs": 20}) == "mlp (hidden=7)"


def test_no_module_is_imported_that_results_name(tmp_path, monkeypatch):
    (tmp_path / "planted_in_results.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert title_of("planted_in_results:Thing", {"a": 1}) == "planted_in_results:Thing (a=1)"
    assert "planted_in_results" not in sys.modules
