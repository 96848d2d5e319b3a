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


def test_t_interval_of_one_value_is_undefined():
    assert ours.t_interval([0.5]) == (None, None)


verdicts = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(
    lambda pairs: tuple(zip(*pairs, strict=True))
)


@given(verdicts)
def test_mcnemar_is_the_sign_test_on_discordant_samples(pair):
    a, b = map(np.array, pair)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert ours.mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-9)
    assert ours.mcnemar_exact(a, b) == ours.mcnemar_exact(b, a)


def test_paired_t_equals_scipy():
    draw = np.random.default_rng(1)
    a, b = draw.normal(0.7, 0.1, 40), draw.normal(0.68, 0.1, 40)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    wanted = (float((a - b).mean()), interval.low, interval.high, expected.pvalue)
    assert ours.paired_t(a, b) == pytest.approx(wanted, abs=1e-12)


def test_paired_t_without_spread():
    assert ours.paired_t([1, 2, 3], [1, 2, 3]) == (0, 0, 0, 1)
    assert ours.paired_t([2, 3], [1, 2]) == (1, 1, 1, 0)
    with pytest.raises(ValueError):
        ours.paired_t([1, 2], [1, 2, 3])


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


@pytest.mark.parametrize("crossed", [True, False])
def test_bootstrap_of_one_seed_has_the_standard_error_of_the_mean(crossed):
    values = np.random.default_rng(2).random(400) < 0.7
    means = ours.bootstrap_means([values], np.random.default_rng(3), crossed=crossed, draws=20_000)
    assert means.mean() == pytest.approx(values.mean(), abs=1e-3)
    assert means.std() == pytest.approx(values.std() / 20, rel=0.03)


def brute_force(values: np.ndarray, crossed: bool, draws: int) -> np.ndarray:
    """The definition, unit by unit."""
    generator, (s, n) = np.random.default_rng(4), values.shape
    means = []
    for _ in range(draws):
        rows, columns = generator.integers(s, size=s), generator.integers(n, size=n)
        means.append(
            np.mean(
                [
                    values[r][columns if crossed else generator.integers(n, size=n)].mean()
                    for r in rows
                ]
            )
        )
    return np.array(means)


@pytest.mark.parametrize("crossed", [True, False])
def test_bootstrap_over_seeds_equals_its_definition(crossed):
    draw = np.random.default_rng(5)
    hard = draw.random(60)  # images hard for every seed: what crossing is about
    values = np.stack(
        [hard + 0.05 * seed + 0.2 * draw.random(60) > 0.6 for seed in range(4)]
    ).astype(float)
    fast = ours.bootstrap_means(values, np.random.default_rng(6), crossed=crossed, draws=20_000)
    slow = brute_force(values, crossed, 4000)
    assert fast.mean() == pytest.approx(slow.mean(), abs=3e-3)
    assert fast.std() == pytest.approx(slow.std(), rel=0.05)


def test_bootstrap_p_sees_a_difference_and_only_a_real_one():
    draw = np.random.default_rng(7)
    nothing, something = draw.normal(0, 1, (5, 200)), draw.normal(0.3, 1, (5, 200))
    assert ours.hierarchical_bootstrap(nothing, np.random.default_rng(8), crossed=False)[2] > 0.05
    low, high, p = ours.hierarchical_bootstrap(something, np.random.default_rng(8), crossed=False)
    assert p < 0.01 and 0 < low < something.mean() < high


def test_detectable_difference_has_the_power_it_says():
    n, spread = 100, 0.2
    gap = ours.detectable_difference(n, spread)
    draws = np.random.default_rng(9).normal(gap, spread, (2000, n))
    found = np.mean([ours.paired_t(d, np.zeros(n))[3] < 0.05 for d in draws])
    assert found == pytest.approx(0.8, abs=0.03)
    assert ours.detectable_accuracy_difference(n, spread**2) == pytest.approx(gap)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_ranks_without_a_test_are_scipys_ranks(scores):
    found = ours.ranks_with_ties(scores, lambda best, rest: [])
    assert found.tolist() == stats.rankdata([-score for score in scores], method="average").tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9, unique=True), st.floats(0, 0.5))
def test_ranks_of_ties_are_shared_and_sum_to_the_same(scores, reach):
    """With `alike` by distance, every group lies within reach of its best, and the next group's best does not."""
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
