"""Estimates of time and spread from the cells in a store."""

from __future__ import annotations

import numpy as np
import pytest

from harness import api
from harness.cells import estimate
from harness.storage.store import VERDICTS, Store

SUITE = """
name: tiny
learners:
  one: {kind: nearest-mean}
  two: {kind: nearest-mean, head: cosine}
  three: {kind: nearest-mean, head: ridge}
protocols:
  few: {kind: few_shot, dataset: digits, ways: 3, shots: [1, 2], queries: 5, episodes: 40}
"""


def test_the_spread_of_differences_is_the_median_over_pairs(write_suite, tmp_path):
    path, store = write_suite(SUITE), Store(tmp_path / "store")
    cells = [cell for cell in api.plan(path).unique if cell.role == "measure"]
    assert estimate.spread(cells, store) is None
    api.run(path, store=tmp_path / "store", workers=1)
    by_setting: dict[str, list[np.ndarray]] = {}
    for cell in cells:
        by_setting.setdefault(cell.label, []).append(store.arrays(cell.key, VERDICTS)["accuracy"])
    pairs = [
        (a, b) for arrays in by_setting.values() for i, a in enumerate(arrays) for b in arrays[:i]
    ]
    assert len(pairs) == 6
    assert estimate.spread(cells, store) == pytest.approx(
        np.median([np.std(a - b, ddof=1) for a, b in pairs])
    )
    assert estimate.spread(cells[:1], store) is None
