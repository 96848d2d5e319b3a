"""The interval of a mean over seeds, against oracles computed from its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, record, results_of, sweep

from harness.metrics.statistics import hierarchical_bootstrap, t_interval
from harness.report.aggregate import MANY_SEEDS, aggregate, is_bootstrapped, units_of, wider
from harness.rng import Rng

ends = st.floats(-1, 1)


def mean_of(*cells):
    results = results_of(*cells)
    return aggregate(results.records, results.verdicts)


def bootstrap_of(units, *, crossed):
    generator = Rng(0).numpy("report bootstrap")
    return hierarchical_bootstrap(units, generator, crossed=crossed)[:2]


@given(ends, ends, ends, ends)
def test_the_wider_interval_contains_both_and_adds_no_bounds(a, b, c, d):
    one, other = tuple(sorted((a, b))), tuple(sorted((c, d)))
    low, high = wider(one, other)
    assert low <= one[0] and low <= other[0] and high >= one[1] and high >= other[1]
    assert low in (one[0], other[0]) and high in (one[1], other[1])


def test_wider_returns_the_other_interval_if_the_first_is_undefined():
    assert wider((None, None), (0.1, 0.2)) == (0.1, 0.2)


def test_t_interval_is_used_if_seeds_differ_more_than_units():
    means = [0.2, 0.35, 0.5, 0.65, 0.8]
    spread = np.linspace(-0.01, 0.01, 50)
    mean = mean_of(*[episodes("a", m + spread, seed=s) for s, m in enumerate(means)])
    assert mean.value == pytest.approx(0.5)
    assert (mean.low, mean.high) == pytest.approx(t_interval(means))


@pytest.mark.parametrize("crossed", [False, True])
def test_bootstrap_is_used_if_it_is_wider_than_t(crossed):
    """Equal seeds have a t interval of no width; the units still vary."""
    draw = np.random.default_rng(0)
    if crossed:
        units = [(draw.random(60) < 0.5).astype(float) for _ in range(MANY_SEEDS)]
        units = [np.roll(units[0], s) for s in range(MANY_SEEDS)]
        cells = [sweep("a", "pgd", {0.1: [int(v) for v in u]}, seed=s) for s, u in enumerate(units)]
    else:
        units = [draw.permutation(np.linspace(0.2, 0.8, 30)) for _ in range(MANY_SEEDS)]
        cells = [episodes("a", u, seed=s) for s, u in enumerate(units)]
    # The records' own intervals, which would count if wider, are made narrow here.
    cells = [[(replace(r, low=r.value, high=r.value), v) for r, v in cell] for cell in cells]
    mean = mean_of(*cells)
    low, high = bootstrap_of(units, crossed=crossed)
    assert (mean.low, mean.high) == (low, high) and low < mean.value < high


def test_few_seeds_have_no_bootstrap():
    cells = [episodes("a", np.linspace(0.2, 0.8, 30), seed=s) for s in range(MANY_SEEDS - 1)]
    results = results_of(*cells)
    assert not is_bootstrapped(results.records)
    narrow = [replace(r, low=r.value, high=r.value) for r in results.records]
    mean = aggregate(narrow, results.verdicts)
    assert mean.low == mean.value == mean.high


def test_an_interval_is_at_least_the_mean_interval_of_a_single_seed():
    records = [
        record("a", {}, value, low=low, high=high, seed=seed)
        for seed, (value, low, high) in enumerate([(0.5, 0.1, 0.6), (0.5, 0.3, 0.8)])
    ]
    mean = aggregate(records, lambda cell, name: np.empty(0))
    assert (mean.low, mean.high) == pytest.approx((0.2, 0.7))


@pytest.mark.parametrize(("shift", "expected"), [(0, (0.0, 1.0)), (5, None)])
def test_only_shares_are_cut_to_the_unit_interval(shift, expected):
    values = [0.1 + shift, 0.9 + shift]
    records = [
        record("a", {}, value, low=value, high=value, seed=seed)
        for seed, value in enumerate(values)
    ]
    mean = aggregate(records, lambda cell, name: np.empty(0))
    assert (mean.low, mean.high) == (expected or t_interval(values))


def test_units_that_were_not_stored_are_an_error():
    with pytest.raises(ValueError, match="accuracy of a has no stored units"):
        units_of(record("a", {}, 0.5), lambda cell, name: np.empty(0))
