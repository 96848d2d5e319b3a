"""mCE: errors under corruption relative to a reference learner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_kit import record, results_of

from harness.protocols.corruption_benchmark import REFERENCE
from harness.report.corruption_error import corruption_error
from harness.report.derived import with_derived
from harness.rng import Rng

KINDS = {"fog": [1, 0, 1, 0], "snow": [1, 1, 1, 0]}


def cells(learner: str, kinds: dict[str, list[int]], seed: int = 0) -> list:
    out = []
    for kind, verdicts in {"clean": [1, 1, 1, 1], **kinds, "mean": [1, 1, 1, 1]}.items():
        more = {"protocol": "robust", "seed": seed, "verdicts": kind, "n": 4, "cell": learner}
        setting = {"corruption": kind}
        out.append((record(learner, setting, np.mean(verdicts), **more), np.array(verdicts)))
    return out


def errors(results) -> dict[str, float]:
    every = with_derived(with_derived(results)).records
    return {r.learner: r.value for r in every if r.metric == "mce"}


def test_mce_is_relative_to_the_learner_that_the_block_names():
    other = {"fog": [1, 1, 1, 0], "snow": [1, 0, 0, 0]}
    results = results_of(cells("a", other), cells("b", KINDS))
    assert errors(results) == {}
    named = replace(results, blocks={"robust": {REFERENCE: "b"}})
    assert errors(named) == pytest.approx({"a": (0.25 / 0.5 + 0.75 / 0.25) / 2, "b": 1.0})


def test_learners_measured_on_other_kinds_have_no_mce():
    results = results_of(cells("a", {"fog": [1, 0, 0, 0]}), cells("b", KINDS))
    assert errors(replace(results, blocks={"robust": {REFERENCE: "b"}})) == {"b": 1.0}


def test_its_interval_is_that_of_resampled_images():
    generator = Rng(1).numpy("verdicts")
    own = {kind: generator.random(500) for kind in KINDS}
    other = {kind: generator.random(500) / 2 for kind in KINDS}
    value, low, high = corruption_error(own, other)
    assert value == pytest.approx(np.mean([own[k].mean() / other[k].mean() for k in KINDS]))
    draws = [generator.integers(0, 500, 500) for _ in range(400)]
    resampled = [np.mean([own[k][r].mean() / other[k][r].mean() for k in KINDS]) for r in draws]
    assert high - low == pytest.approx(4 * np.std(resampled), rel=0.2)
    assert corruption_error(other, other) == (pytest.approx(1), None, None)
