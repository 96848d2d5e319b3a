"""Intervals and tests against scipy, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.metrics import power
from harness.metrics import statistics as ours

shares = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(shares, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(share, level):
    successes, n = share
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert ours.wilson(successes, n, level) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


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


@pytest.mark.parametrize("level", [0.5, 0.99])
def test_levels_reach_the_t_interval(level):
    values = np.random.default_rng(12).normal(0, 1, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert ours.t_interval(values, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("interval", [ours.t_interval, ours.share_interval])
def test_an_interval_of_one_value_is_undefined(interval):
    assert interval([0.5]) == (None, None)


# --------------------------------------------------------------------- intervals of shares


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.sampled_from([0.8, 0.95]))
def test_intervals_of_shares_hold_the_mean_within_0_and_1_and_have_a_width(values, level):
    low, high = ours.share_interval(values, level)
    assert 0 <= low <= np.mean(values) + 1e-12 and np.mean(values) - 1e-12 <= high <= 1
    assert high - low > 1e-9


@given(st.integers(2, 400).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_the_share_interval_of_verdicts_is_wilsons_with_the_quantile_of_t(share):
    """The roots of (mean - p)^2 = t^2 p (1 - p) / (n - 1), where n - 1 is the effective size."""
    right, n = share
    low, high = ours.share_interval([1.0] * right + [0.0] * (n - right))
    t = stats.t.ppf(0.975, n - 1)
    for bound in (low, high):
        distance = (right / n - bound) ** 2
        assert distance == pytest.approx(t**2 * bound * (1 - bound) / (n - 1), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.8, 1.0])
def test_equal_units_count_as_single_verdicts(value):
    n = 7
    low, high = ours.share_interval([value] * n)
    t = stats.t.ppf(0.975, n - 1)
    ends = {0.0: (0, t**2 / (n + t**2)), 1.0: (n / (n + t**2), 1)}
    if value in ends:
        assert (low, high) == pytest.approx(ends[value])
    else:
        assert (value - low) ** 2 == pytest.approx(t**2 * low * (1 - low) / n)


def test_hundreds_of_episodes_have_the_t_interval():
    """600 episodes of 75 queries: the +- that papers print does not change."""
    draw = np.random.default_rng(0)
    for accuracy in (0.5, 0.75, 0.95):
        values = draw.binomial(75, draw.beta(30 * accuracy, 30 * (1 - accuracy), 600)) / 75
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert ours.share_interval(values) == pytest.approx((expected.low, expected.high), abs=2e-4)


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [3, 5, 10, 600])
def test_intervals_of_few_episodes_cover_the_true_accuracy(n, accuracy):
    """Episodes differ in difficulty (0.3 on the logit scale); each has 75 queries.

    Coverage is .95 to .97, and up to .998 at 3 to 5 episodes of 99 %, where most draws have no or
    one wrong query. A plain t interval covers as little as .66 there.
    """
    draw = np.random.default_rng(int(1000 * accuracy) + n)
    centre = np.log(accuracy / (1 - accuracy))
    easiness = 1 / (1 + np.exp(-draw.normal(centre, 0.3, (2000, n))))
    truth = np.mean(1 / (1 + np.exp(-draw.normal(centre, 0.3, 200_000))))
    episodes = draw.binomial(75, easiness) / 75
    bounds = [ours.share_interval(values) for values in episodes]
    assert np.mean([low <= truth <= high for low, high in bounds]) >= 0.93


pvalues = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(pvalues)
def test_holm_by_its_definition(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    expected = [0.0] * len(p)
    for step, i in enumerate(order):
        expected[i] = min(1.0, max((len(p) - k) * p[j] for k, j in enumerate(order[: step + 1])))
    assert ours.holm(p).tolist() == pytest.approx(expected)


@given(pvalues)
def test_holm_lies_between_none_and_bonferroni_and_keeps_order(p):
    adjusted, p = ours.holm(p), np.array(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@given(st.floats(0.01, 2), st.floats(0.01, 1), st.sampled_from([0.9, 0.95]), st.floats(0.5, 0.95))
def test_units_needed_is_the_least_number_that_detects_the_difference(
    spread, difference, level, chance
):
    n = power.units_needed(spread, difference, level, chance)
    z = stats.norm.ppf(0.5 + level / 2) + stats.norm.ppf(chance)
    assert power.detectable_difference(n, spread, level, chance) == pytest.approx(
        z * spread / np.sqrt(n)
    )
    assert power.detectable_difference(n, spread, level, chance) <= difference * (1 + 1e-9)
    if n > 1:
        assert power.detectable_difference(n - 1, spread, level, chance) > difference * (1 - 1e-9)


def test_detectable_difference_has_the_power_it_says():
    n, spread = 100, 0.2
    gap = power.detectable_difference(n, spread)
    draws = np.random.default_rng(9).normal(gap, spread, (2000, n))
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.03)
    assert power.detectable_accuracy_difference(n, spread**2) == pytest.approx(gap)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_ranks_without_a_test_are_scipys_ranks(scores):
    found = ours.ranks_with_ties(scores, lambda best, rest: [])
    assert found.tolist() == stats.rankdata([-score for score in scores], method="average").tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9, unique=True), st.floats(0, 0.5))
def test_ranks_of_ties_are_shared_and_sum_to_the_same(scores, reach):
    """A group of `alike` by distance is within reach of its best; the next group's best is not."""
    found = ours.ranks_with_ties(
        scores, lambda best, rest: [i for i in rest if scores[best] - scores[i] <= reach]
    )
    assert found.sum() == pytest.approx(len(scores) * (len(scores) + 1) / 2)
    groups = [
        [s for s, r in zip(scores, found, strict=True) if r == rank] for rank in sorted(set(found))
    ]
    assert all(max(group) - min(group) <= reach for group in groups)
    assert all(
        max(one) - max(other) > reach for one, other in zip(groups, groups[1:], strict=False)
    )


# ------------------------------------------------------------------ comparisons with the best


@given(pvalues)
def test_worse_candidates_by_the_definition_of_the_step_down(p):
    k = len(p) + 1
    expected = set()
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] > 0.1 / ((k - step) * (k - 1)):
            break
        expected.add(i)
    assert set(np.flatnonzero(ours.shown_worse(p))) == expected


def test_two_candidates_are_a_single_test():
    assert ours.shown_worse([0.05]).tolist() == [True]
    assert ours.shown_worse([0.0501]).tolist() == [False]
