"""Means over seeds and units: closed forms, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.metrics.means import (
    Part,
    Spread,
    gap_ps,
    mean_gap,
    mean_gap_of_seeds,
    mean_share,
    unpaired_gap,
)
from harness.metrics.statistics import shown_worse

DRAWS = 400


def t_half(values, level: float = 0.95) -> float:
    return stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values)


# --------------------------------------------------------------------------------- closed forms


def test_one_seed_of_episodes_is_a_paired_t_test():
    gaps = np.random.default_rng(1).normal(0.02, 0.1, 40)
    expected = stats.ttest_1samp(gaps, 0)
    interval = expected.confidence_interval(0.95)
    found = mean_gap([gaps], crossed=False)
    assert (found.mean, found.low, found.high, found.p) == pytest.approx(
        (gaps.mean(), interval.low, interval.high, expected.pvalue), abs=1e-12
    )


@pytest.mark.parametrize("verdicts", [False, True])
@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_many_gaps_at_once_have_the_p_of_each(seeds, crossed, verdicts):
    draw = np.random.default_rng(2)
    skill = np.linspace(-0.3, 0.3, 12)[:, None, None]
    gaps = np.sign(draw.normal(skill, 1, (12, seeds, 30))).round()
    gaps[3] = 0  # equal on every unit
    gaps[4] = 1
    gaps[5, :] = gaps[5, :1]  # equal in every seed
    each = [mean_gap(list(gap), crossed=crossed, verdicts=verdicts).p for gap in gaps]
    assert 0 < min(each) < 0.05 < max(each) <= 1
    found = gap_ps(gaps, crossed=crossed, verdicts=verdicts)
    np.testing.assert_allclose(found, each, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_one_seed_of_images_has_a_t_interval_with_two_more_images(level):
    """Bonett & Price 2012 add the same two; their quantile is that of the normal distribution."""
    gaps = np.array([1] * 9 + [-1] * 3 + [0] * 28)
    found = mean_gap([gaps], crossed=True, verdicts=True, level=level)
    more = np.append(gaps, [1, -1])
    assert found.mean == 6 / 40
    assert (found.low, found.high) == pytest.approx(
        (more.mean() - t_half(more, level), more.mean() + t_half(more, level))
    )
    assert found.p == pytest.approx(stats.ttest_1samp(more, 0).pvalue)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_crossed_units_add_the_squares_of_both_half_widths(level):
    gaps = np.random.default_rng(2).normal(0.02, 0.1, (4, 30))
    found = mean_gap(gaps, crossed=True, level=level)
    half = np.hypot(t_half(gaps.mean(axis=1), level), t_half(gaps.mean(axis=0), level))
    assert (found.low, found.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))


def test_nested_units_have_the_wider_of_two_intervals():
    draw = np.random.default_rng(3)
    for shifts in ([0.2, 0.0, -0.2], [0.001, 0.0, -0.001]):
        seeds = [
            shift + draw.permutation(np.linspace(-0.2, 0.2, n))
            for shift, n in zip(shifts, (20, 30, 40), strict=True)
        ]
        means = [seed.mean() for seed in seeds]
        freedom = 19 + 29 + 39
        over_units = (
            stats.t.ppf(0.975, freedom) * np.sqrt(sum(stats.sem(s) ** 2 for s in seeds)) / 3
        )
        half = max(t_half(means), over_units)
        found = mean_gap(seeds, crossed=False)
        assert (found.low, found.high) == pytest.approx(
            (np.mean(means) - half, np.mean(means) + half)
        )


def test_fixed_seeds_leave_out_the_spread_of_seeds():
    gaps = np.random.default_rng(4).normal(0, 0.1, (3, 25)) + [[0.3], [0.0], [-0.3]]
    found = mean_gap(gaps, crossed=True, fixed_seeds=True)
    assert found.high - found.low == pytest.approx(2 * t_half(gaps.mean(axis=0)))


def test_unpaired_means_are_welchs_test():
    a, b = [0.7, 0.74, 0.71, 0.69], [0.6, 0.68, 0.61]
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = unpaired_gap(a, b)
    assert (found.low, found.high, found.p) == pytest.approx(
        (interval.low, interval.high, expected.pvalue)
    )
    units = np.random.default_rng(5).normal(0.08, 0.2, 50)
    half = np.hypot((interval.high - interval.low) / 2, t_half(units))
    assert unpaired_gap(a, b, units).high == pytest.approx(found.mean + half)


def test_a_single_seed_without_units_is_no_difference():
    with pytest.raises(ValueError, match="one seed"):
        mean_gap_of_seeds([0.1])
    with pytest.raises(ValueError, match="one seed a side"):
        unpaired_gap([0.1], [0.1, 0.2])


units = st.floats(-1, 1, allow_subnormal=False).map(lambda x: round(x, 3))


@given(
    st.lists(st.lists(units, min_size=5, max_size=5), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_p_says_whether_the_interval_excludes_zero(gaps, crossed, fixed):
    for level in (0.5, 0.95):
        found = mean_gap(gaps, crossed=crossed, fixed_seeds=fixed, level=level)
        assert -1 <= found.low <= found.mean <= found.high <= 1
        distance = max(found.low, -found.high)  # positive where zero is outside
        if abs(distance) > 1e-6:
            assert (found.p < 1 - level) == (distance > 0)


def test_p_of_a_sum_of_variances_is_found_where_its_interval_ends():
    spread = Spread((Part(1e-4, 2), Part(4e-4, 300)))
    for level in (0.5, 0.95, 0.999999):
        assert spread.p(spread.half_width(level)) == pytest.approx(1 - level, rel=1e-5)
    assert spread.p(0.0) == 1.0 and spread.p(1e6) < 1e-6


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_equal_gaps_do_not_make_a_difference_certain(value):
    """Ten units with the same gap have the interval of two more, one each way."""
    found = mean_gap([np.full(10, value)], crossed=False)
    assert found.low < found.mean == value < found.high
    if value == 0:
        assert found.p == 1


@given(st.lists(st.lists(units, min_size=6, max_size=6), min_size=2, max_size=5), st.booleans())
def test_no_interval_is_narrower_than_the_paired_one_over_units(gaps, crossed):
    everything = mean_gap(gaps, crossed=crossed)
    paired = mean_gap(gaps, crossed=crossed, fixed_seeds=True)
    assert everything.low <= paired.low + 1e-12 and everything.high >= paired.high - 1e-12


# ------------------------------------------------------------------------- coverage by simulation

SPREADS = {"none": 0.0, "comparable": 1.0, "dominant": 5.0}
"""Standard deviation between seeds, relative to that of the mean over units."""


def simulated_gaps(draw, seeds: int, spread: float, *, crossed: bool) -> np.ndarray:
    """Gaps of two equal learners, (seeds, units): units and seeds differ, with a little noise."""
    n = 100
    hard = draw.normal(0, 0.1, (1 if crossed else seeds, n))
    of_seeds = draw.normal(0, spread * 0.1 / np.sqrt(n), (seeds, 1))
    return hard + of_seeds + draw.normal(0, 0.01, (seeds, n))


@pytest.mark.parametrize("crossed", [True, False], ids=["images", "episodes"])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_differences_are_covered_however_much_seeds_differ(seeds, spread, crossed):
    """Coverage is .95 and more: .98 where seeds do not differ and few of them cannot show it."""
    draw = np.random.default_rng(seeds)
    covered = []
    for _ in range(2 * DRAWS):
        found = mean_gap(
            simulated_gaps(draw, seeds, SPREADS[spread], crossed=crossed), crossed=crossed
        )
        covered.append(found.low <= 0 <= found.high)
    assert np.mean(covered) >= 0.93


def test_seeds_alone_do_not_show_how_images_vary():
    """The simulation can fail: t over three seeds' means covers less than half of the time."""
    draw = np.random.default_rng(0)
    gaps = [simulated_gaps(draw, 3, 0.0, crossed=True).mean(axis=1) for _ in range(DRAWS)]
    assert np.mean([abs(g.mean()) <= t_half(g) for g in gaps]) < 0.5


def verdicts(draw, learners: int, seeds: int, n: int, *, noise: float) -> np.ndarray:
    """Verdicts of equally good learners on the same images, uint8 (learners, seeds, images).

    An image is hard for all, or for a learner, or for one seed of it; seeds differ as well.
    """
    logit = 1 + draw.normal(0, 1.5, n)
    logit = logit + draw.normal(0, 0.7, (learners, 1, n))
    logit = logit + draw.normal(0, noise, (learners, seeds, 1))
    return (draw.logistic(0, 1, (learners, seeds, n)) < logit).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_differences_of_verdicts_and_accuracies_are_covered(seeds, noise):
    draw = np.random.default_rng(seeds)
    easiness = draw.normal(1, np.sqrt(1.5**2 + 0.7**2 + noise**2), 400_000)
    truth = np.mean(1 / (1 + np.exp(-easiness)))
    of_gap, of_mean = [], []
    for _ in range(DRAWS):
        a, b = verdicts(draw, 2, seeds, 200, noise=noise).astype(float)
        found = mean_gap(a - b, crossed=True, verdicts=True)
        of_gap.append(found.low <= 0 <= found.high)
        low, high = mean_share(a, crossed=True)
        of_mean.append(low <= truth <= high)
    assert np.mean(of_gap) >= 0.93 and np.mean(of_mean) >= 0.93


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("learners", [2, 5, 10])
def test_all_equal_learners_are_bold_at_the_stated_level(learners, seeds):
    """No learner that equals the best is shown to be worse, in at least 95 % of all tables."""
    draw = np.random.default_rng(10 * learners + seeds)
    missed = []
    for _ in range(DRAWS):
        drawn = verdicts(draw, learners, seeds, 200, noise=0.1 * (seeds > 1)).astype(float)
        best = int(drawn.mean(axis=(1, 2)).argmax())
        p = [
            mean_gap(drawn[best] - drawn[i], crossed=True, verdicts=True).p
            for i in range(learners)
            if i != best
        ]
        missed.append(shown_worse(p).any())
    # 5 % plus two standard errors of this simulation; Holm over the rows alone misses up to 14 %.
    assert np.mean(missed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / DRAWS)


def test_a_learner_that_is_clearly_worse_is_found():
    draw = np.random.default_rng(0)
    hard = draw.normal(0, 1, 300)
    best, *others = [(hard + shift + draw.normal(0, 0.3, (3, 300)) > -1) for shift in (0, 0, -1)]
    p = [mean_gap(best.astype(float) - x, crossed=True, verdicts=True).p for x in others]
    assert shown_worse(p).tolist() == [False, True]


# --------------------------------------------------------------------------------------- shares


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=4),
    st.booleans(),
)
def test_means_of_shares_stay_within_0_and_1_and_have_a_width(seeds, crossed):
    low, high = mean_share(seeds, crossed=crossed)
    assert 0 <= low <= np.mean(seeds) + 1e-12 and np.mean(seeds) - 1e-12 <= high <= 1
    assert high - low > 1e-9


def test_a_mean_share_is_the_score_interval_of_its_half_width():
    values = np.random.default_rng(6).uniform(0.5, 0.9, (3, 40))
    mean = values.mean()
    for crossed in (True, False):
        over_units = t_half(values.mean(axis=0))
        half = np.hypot(t_half(values.mean(axis=1)), over_units)
        if not crossed:
            pooled = stats.t.ppf(0.975, 117) * np.sqrt(sum(stats.sem(v) ** 2 for v in values)) / 3
            half = max(t_half(values.mean(axis=1)), pooled)
        for bound in mean_share(values, crossed=crossed):
            # Wilson's equation, with half^2 / (mean (1 - mean)) for z^2 / n.
            k = half**2 / (mean * (1 - mean))
            assert (mean - bound) ** 2 == pytest.approx(k * bound * (1 - bound))
