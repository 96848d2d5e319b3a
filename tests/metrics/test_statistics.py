"""Intervals and tests against scipy, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
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


DEFINED = [
    # (means of the draws) -> p of the definition: twice the rarer side of zero, both with one more
    ([1.0] * 99, 2 / 100),  # nothing on the other side: the floor
    ([-1.0] * 99, 2 / 100),
    ([1.0] * 98 + [-1.0], 4 / 100),
    ([1.0] * 95 + [-1.0] * 4, 10 / 100),
    ([1.0] * 98 + [0.0], 4 / 100),  # zero is on both sides
    ([0.0] * 99, 1.0),
    ([1.0] * 50 + [-1.0] * 49, 1.0),
]


@pytest.mark.parametrize(("means", "p"), DEFINED)
def test_bootstrap_p_by_its_definition(monkeypatch, means, p):
    monkeypatch.setattr(ours, "bootstrap_means", lambda *_, **__: np.array(means))
    found = ours.hierarchical_bootstrap([[1.0]], np.random.default_rng(0), crossed=False)
    assert found[2] == pytest.approx(p, abs=1e-15)


@pytest.mark.parametrize("crossed", [True, False])
def test_bootstrap_p_has_a_floor_of_two_in_the_draws(crossed):
    """However large the difference, 4,000 draws prove no smaller p."""
    values = np.full((3, 20), 0.5)
    low, high, p = ours.hierarchical_bootstrap(values, np.random.default_rng(0), crossed=crossed)
    assert (low, high) == (0.5, 0.5) and p == 2 / (ours.DRAWS + 1)


def test_bootstrap_interval_is_the_quantiles_of_its_means():
    values = np.random.default_rng(3).random((4, 30))
    for level in (0.8, 0.95):
        means = ours.bootstrap_means(values, np.random.default_rng(9), crossed=True)
        found = ours.hierarchical_bootstrap(
            values, np.random.default_rng(9), crossed=True, level=level
        )
        tails = 100 * (1 - level) / 2
        assert found[:2] == pytest.approx(np.percentile(means, [tails, 100 - tails]), abs=1e-12)


def test_crossed_draws_do_not_depend_on_their_number():
    """Draws are made in chunks: the first ones are the same however many follow."""
    values = np.random.default_rng(4).random((3, 12))
    many, few = (
        ours.bootstrap_means(values, np.random.default_rng(1), crossed=True, draws=draws)
        for draws in (1200, 500)
    )
    assert len(many) == 1200 and np.array_equal(many[:500], few)


@given(verdicts, st.sampled_from([0.8, 0.95]))
def test_paired_shares_by_its_formula(pair, level):
    """Bonett & Price 2012: one more in both discordant cells; the mean itself is unadjusted."""
    a, b = map(np.array, pair)
    n, f12, f21 = len(a), int((a & ~b).sum()), int((~a & b).sum())
    p12, p21 = (f12 + 1) / (n + 2), (f21 + 1) / (n + 2)
    z = stats.norm.ppf(0.5 + level / 2)
    half = z * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    mean, low, high = ours.paired_shares(a, b, level)
    assert mean == pytest.approx(np.mean(a.astype(float) - b.astype(float)), abs=1e-12)
    assert (low, high) == pytest.approx((p12 - p21 - half, p12 - p21 + half), abs=1e-12)


def test_paired_shares_cover_the_true_difference():
    draw = np.random.default_rng(11)
    covered = []
    for _ in range(2000):
        u = draw.random(40)
        a, b = u < 0.8, (u > 0.1) & (u < 0.75)
        _, low, high = ours.paired_shares(a, b)
        covered.append(low <= 0.8 - 0.65 <= high)
    assert np.mean(covered) > 0.92  # 0.95 is nominal; differences are multiples of 1 / 40


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=20),
    st.lists(st.floats(-5, 5), min_size=2, max_size=20),
    st.sampled_from([0.9, 0.95]),
)
def test_welch_equals_scipy(a, b, level):
    found = ours.welch(a, b, level)
    assume(np.var(a) + np.var(b) > 1e-12)  # the next test has samples without spread
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(level)
    wanted = (np.mean(a) - np.mean(b), interval.low, interval.high, expected.pvalue)
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_welch_without_spread():
    assert ours.welch([1, 1], [1, 1, 1]) == (0, 0, 0, 1)
    assert ours.welch([2, 2], [1, 1]) == (1, 1, 1, 0)
    with pytest.raises(ValueError):
        ours.welch([1.0], [1.0, 2.0])


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


def test_paired_tests_need_pairs():
    for test in (ours.mcnemar_exact, ours.paired_t, ours.paired_shares):
        with pytest.raises(ValueError, match="not pairs"):
            test([1, 0, 1], [1, 0])
        with pytest.raises(ValueError, match="not pairs"):
            test([[1, 0]], [[1, 0]])
    with pytest.raises(ValueError, match="two pairs"):
        ours.paired_t([1], [0])


@pytest.mark.parametrize("level", [0.5, 0.99])
def test_levels_reach_every_interval(level):
    draw = np.random.default_rng(12)
    a, b = draw.normal(0, 1, 12), draw.normal(0.2, 1, 12)
    alone = stats.ttest_1samp(a, 0).confidence_interval(level)
    assert ours.t_interval(a, level) == pytest.approx((alone.low, alone.high), abs=1e-12)
    paired = stats.ttest_rel(a, b).confidence_interval(level)
    assert ours.paired_t(a, b, level)[1:3] == pytest.approx((paired.low, paired.high), abs=1e-12)


def test_detectable_difference_has_the_power_it_says():
    n, spread = 100, 0.2
    gap = power.detectable_difference(n, spread)
    draws = np.random.default_rng(9).normal(gap, spread, (2000, n))
    found = np.mean([ours.paired_t(d, np.zeros(n))[3] < 0.05 for d in draws])
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
