"""Attacks judged by each other: what each broke alone, and what it missed."""

from __future__ import annotations

import numpy as np
import pytest
from results_kit import results_of, sweep

from harness.errors import HarnessError
from harness.report import optimality


def rows(*cells):
    return {(row.eps, row.attack): row for row in optimality.of_results(results_of(*cells))}


def test_an_attack_is_as_far_from_the_best_as_what_it_left_and_others_broke():
    first = sweep("a", "x", {0.0: [1, 1, 1, 1, 0], 0.1: [0, 1, 1, 1, 0], 0.2: [1, 0, 1, 1, 0]})
    second = sweep("a", "y", {0.0: [1, 1, 1, 1, 0], 0.1: [1, 1, 0, 1, 0], 0.2: [0, 0, 0, 1, 0]})
    found = rows(first, second)
    assert {*found} == {(0.1, "x"), (0.1, "y"), (0.2, "x"), (0.2, "y")}
    shares = {place: (row.broken, row.alone, row.missed) for place, row in found.items()}
    assert shares[0.1, "x"] == pytest.approx((0.4, 0.2, 0.2))
    assert shares[0.1, "y"] == pytest.approx((0.4, 0.2, 0.2))
    assert shares[0.2, "x"] == pytest.approx((0.6, 0.0, 0.2)), "what broke at 0.1 is broken at 0.2"
    assert shares[0.2, "y"] == pytest.approx((0.8, 0.2, 0.0))


def test_passes_are_runs_times_steps_and_seeds_are_averaged():
    config = {"attack": "pgd", "eps": [0.1], "steps": 10, "loss": ["ce"]}
    results = results_of(
        *(sweep("a", "pgd", {0.1: [1, 1, 0, 0]}, seed=seed, config=config) for seed in (0, 1))
    )
    runs = np.array([[[[1, 1, 0, 2]], [[1, 1, 2, 2]]]], np.uint8)  # of 8 runs, 5 were made
    verdicts = results.verdicts

    def with_runs(cell, name):
        return runs if name == "attack/correct" else verdicts(cell, name)

    object.__setattr__(results, "verdicts", with_runs)
    (row,) = optimality.of_results(results)
    assert (row.forward, row.backward) == (5 / 4 * 11, 5 / 4 * 10)
    assert (row.broken, row.alone, row.missed) == (0.5, 0.5, 0.0)


def test_passes_of_a_pack_are_unknown():
    (row,) = optimality.of_results(results_of(sweep("a", "pgd", {0.1: [1, 0]})))
    assert row.forward is None and row.backward is None


def test_without_a_sweep_it_says_so():
    with pytest.raises(HarnessError, match="no attack sweep"):
        optimality.of_results(results_of())
