"""The interval of a mean over seeds, against oracles computed from its definition."""

from __future__ import annotations

import numpy as np
import pytest
from results_kit import episodes, record, results_of, sweep

from harness.metrics.means import mean_share
from harness.metrics.statistics import score_bounds, t_interval
from harness.report.aggregate import aggregate, units_of


def mean_of(*cells):
    results = results_of(*cells)
    return aggregate(results.records, results.verdicts)


@pytest.mark.parametrize("crossed", [False, True])
def test_several_seeds_have_an_interval_over_seeds_and_units(crossed):
    draw = np.random.default_rng(0)
    if crossed:
        units = [(draw.random(60) < 0.5).astype(int) for _ in range(3)]
        cells = [sweep("a", "pgd", {0.1: list(map(int, u))}, seed=s) for s, u in enumerate(units)]
    else:
        units = [draw.uniform(0.2, 0.8, 30) for _ in range(3)]
        cells = [episodes("a", u, seed=s) for s, u in enumerate(units)]
    mean = mean_of(*cells)
    assert (mean.low, mean.high) == mean_share(units, crossed=crossed)
    assert mean.value == pytest.approx(np.mean(units))


def test_an_interval_without_units_is_at_least_that_of_a_single_seed():
    records = [
        record("a", {}, value, low=low, high=high, seed=seed, metric="relative_drop")
        for seed, (value, low, high) in enumerate([(0.5, 0.1, 0.9), (0.5, 0.3, 0.7)])
    ]
    mean = aggregate(records, lambda cell, name: np.empty(0))
    assert (mean.low, mean.high) == pytest.approx((0.2, 0.8))


@pytest.mark.parametrize("metric", ["live_share", "sigma_log_w"])
def test_only_shares_stay_within_0_and_1(metric):
    values = [0.1, 0.9]
    records = [record("a", {}, v, seed=seed, metric=metric) for seed, v in enumerate(values)]
    mean = aggregate(records, lambda cell, name: np.empty(0))
    low, high = t_interval(values)
    if metric == "live_share":
        assert (mean.low, mean.high) == score_bounds(0.5, (high - low) / 2, 2)
        assert 0 < mean.low < mean.high < 1
    else:
        assert (mean.low, mean.high) == pytest.approx((low, high))


def test_a_property_that_all_seeds_share_is_its_own_interval():
    records = [record("a", {}, 0.7, seed=seed, metric="live_share") for seed in range(3)]
    mean = aggregate(records, lambda cell, name: np.empty(0))
    assert mean.low == mean.high == mean.value == 0.7


def test_units_that_were_not_stored_are_an_error():
    with pytest.raises(ValueError, match="accuracy of a has no stored units"):
        units_of(record("a", {}, 0.5), lambda cell, name: np.empty(0))
