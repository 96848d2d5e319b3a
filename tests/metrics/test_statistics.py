"""Intervals and tests against scipy, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.metrics import statistics as ours

shares = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(shares, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(share, level):
    successes, n = share
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert ours.wilson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(shares)
def test_wilson_holds_the_share_and_stays_inside_the_unit_interval(share):
    successes, n = share
    low, high = ours.wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError):
        ours.wilson(successes, n)


def test_t_interval_equals_scipy():
    values = np.random.default_rng(0).normal(0.6, 0.1, 50)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert ours.t_interval(values) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_t_interval_of_one_value_is_undefined():
    assert ours.t_interval([0.5]) == (None, None)
