"""Sparsity, Dale's law and weight distributions against closed forms and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from harness.metrics import dale, distributions, sparsity

positive = arrays(
    np.float64, st.tuples(st.integers(2, 8), st.integers(2, 8)), elements=st.floats(0.01, 100)
)


@given(positive, st.integers(0, 1), st.floats(0.1, 10))
def test_sparseness_is_between_0_and_1_and_knows_no_scale(responses, axis, scale):
    found = sparsity.treves_rolls(responses, axis)
    assert (found > -1e-9).all() and (found <= 1 + 1e-9).all()
    assert found == pytest.approx(sparsity.treves_rolls(scale * responses, axis), abs=1e-9)
    assert sparsity.hoyer(responses, axis) == pytest.approx(
        sparsity.hoyer(scale * responses, axis), abs=1e-9
    )


@pytest.mark.parametrize("measure", [sparsity.treves_rolls, sparsity.hoyer])
def test_sparseness_at_its_ends(measure):
    one_hot, flat = np.eye(5), np.ones((5, 5))
    for axis in (0, 1):
        assert measure(one_hot, axis) == pytest.approx(np.ones(5))
        assert measure(flat, axis) == pytest.approx(np.zeros(5))
    assert np.isnan(measure(np.zeros((2, 3)), 1)).all()


def test_treves_rolls_of_exponential_rates_is_one_half():
    rates = np.random.default_rng(0).exponential(size=(200_000, 1))  # a = 1 / 2 for an exponential
    assert sparsity.treves_rolls(rates, 0)[0] == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=20))
def test_gini_is_half_the_relative_mean_difference(values):
    x = np.array(values)
    expected = np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())
    assert sparsity.gini(x) == pytest.approx(expected, abs=1e-9)


sizes = arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 100))


@given(sizes.filter(lambda x: x.sum() > 1e-3))
def test_sparseness_by_its_formula(x):
    n, l1, l2 = len(x), np.abs(x).sum(), np.sqrt((x**2).sum())
    activity = x.mean() ** 2 / (x**2).mean()
    signed = x * np.resize([1, -1], n)  # signs do not count
    assert sparsity.hoyer(signed) == pytest.approx((np.sqrt(n) - l1 / l2) / (np.sqrt(n) - 1))
    assert sparsity.treves_rolls(signed[:, None], 0)[0] == pytest.approx(
        (1 - activity) / (1 - 1 / n), abs=1e-12
    )


def test_gini_of_nothing_is_undefined_and_of_everything_in_one_its_maximum():
    assert np.isnan(sparsity.gini(np.zeros(4)))
    assert sparsity.gini(np.array([0, 0, 0, 0, -7.0])) == pytest.approx(4 / 5)


@given(arrays(np.float64, (4, 6), elements=st.floats(-5, 5)), arrays(bool, (4, 6)))
def test_live_synapses_by_brute_force(weight, mask):
    existing = [abs(w) for w, exists in zip(weight.ravel(), mask.ravel(), strict=True) if exists]
    # within rounding of the threshold either answer is right
    threshold = 0.01 * np.mean(existing) if existing else np.inf
    found = sparsity.live_synapses(weight, mask)
    assert not found[~mask].any()
    assert (found | (np.abs(weight) <= threshold * (1 + 1e-9)) | ~mask).all()
    assert (~found | (np.abs(weight) >= threshold * (1 - 1e-9))).all()


def test_live_synapses_by_mask_or_by_size():
    weight = np.array([[1.0, 0.001], [-1.0, 0.0]])
    assert sparsity.live_synapses(weight).tolist() == [[True, False], [True, False]]
    # the same rule under a mask: specks do not count, and the mean is over what exists
    assert sparsity.live_synapses(weight, np.ones((2, 2))).tolist() == [
        [True, False],
        [True, False],
    ]
    assert sparsity.live_synapses(weight, weight != 0).tolist() == [[True, False], [True, False]]
    assert sparsity.live_synapses(weight, np.array([[0, 1], [0, 0]])).tolist() == [
        [False, True],
        [False, False],
    ]


def test_chance_purity_is_that_of_shuffled_signs():
    rng = np.random.default_rng(0)
    weight, live = np.abs(rng.normal(size=(200, 12))), rng.random((200, 12)) < 0.4
    signs = np.where(rng.random(weight.shape) < 0.3, -1.0, 1.0)

    def shuffled() -> float:
        mixed = weight.copy()
        mixed[live] *= rng.permutation(signs[live])
        return np.nanmean(dale.sign_purity(mixed, live))

    assert (
        abs(dale.chance_purity(weight * signs, live) - np.mean([shuffled() for _ in range(30)]))
        < 0.01
    )
    assert dale.chance_purity(weight, live) == 1.0 and np.isnan(
        dale.chance_purity(weight, np.zeros_like(live))
    )


def test_chance_purity_by_enumeration():
    """The mean of max(k, n - k) / n over all sign patterns, each with its probability."""
    weight = np.array([[1.0, -2, 3, 0.5], [1, 1, -1, 9], [-4, 9, 9, 9]])
    live = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], bool)
    p = 5 / 8  # positive ones of the eight live synapses

    def expected(n: int) -> float:
        total = 0.0
        for pattern in itertools.product([0, 1], repeat=n):
            k = sum(pattern)
            total += p**k * (1 - p) ** (n - k) * max(k, n - k) / n
        return total

    assert dale.chance_purity(weight, live) == pytest.approx(
        np.mean([expected(n) for n in (4, 3, 1)])
    )


def test_silent_units():
    assert sparsity.silent_units(np.array([[0.0, 1, 0.001], [0, -2, 0]])).tolist() == [
        True,
        False,
        True,
    ]
    assert sparsity.silent_units(np.zeros((3, 2))).all()


def test_sign_purity():
    weight = np.array([[1.0, 2, 3], [1, -1, 5], [1, -1, -1], [0, 0, 0]])
    live = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 1]], bool)
    assert dale.sign_purity(weight, live) == pytest.approx([1, 0.5, 2 / 3, np.nan], nan_ok=True)
    assert dale.sign_purity(-weight, live) == pytest.approx(
        dale.sign_purity(weight, live), nan_ok=True
    )


def test_sign_flips_do_not_count_zeros():
    assert dale.sign_flips(np.array([1.0, -1, 0, 2]), np.array([-1.0, -2, 5, 0])) == 1


SAMPLES = {
    "lognormal": np.random.default_rng(1).lognormal(-1, 0.9, 5000),
    "gamma": np.random.default_rng(2).gamma(3.0, 0.5, 5000),
    "exponential": np.random.default_rng(3).exponential(0.3, 5000),
    "half-normal": np.abs(np.random.default_rng(4).normal(0, 0.3, 5000)),
    "normal": np.random.default_rng(5).normal(5, 0.5, 5000),
    "power law": 0.2 * (1 + np.random.default_rng(6).pareto(1.7, 5000)),
}


@pytest.mark.parametrize("family", distributions.FAMILIES)
def test_aic_finds_the_family_that_drew_the_sample(family):
    criteria = distributions.aic(SAMPLES[family])
    # An exponential is a gamma of shape 1: the larger family may come out within its one parameter.
    assert criteria[family] <= min(criteria.values()) + (2 if family == "exponential" else 0)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_aic_equals_scipys_fits(sample):
    fits = {
        "lognormal": (stats.lognorm, {"floc": 0}),
        "gamma": (stats.gamma, {"floc": 0}),
        "normal": (stats.norm, {}),
        "exponential": (stats.expon, {"floc": 0}),
        "half-normal": (stats.halfnorm, {"floc": 0}),
        "power law": (stats.pareto, {"floc": 0, "fscale": sample.min()}),
    }
    found = distributions.aic(sample)
    for name, (family, fixed) in fits.items():
        free = 1 if name in ("exponential", "half-normal") else 2
        assert found[name] == pytest.approx(
            2 * free - 2 * family.logpdf(sample, *family.fit(sample, **fixed)).sum(), rel=1e-5
        )


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_ks_and_moments_equal_scipy(sample):
    sample = sample[sample > 0]
    logs = np.log(sample)
    assert distributions.ks_lognormal(sample) == pytest.approx(
        stats.kstest(logs, "norm", args=(logs.mean(), logs.std())).statistic
    )
    assert distributions.log_moments(sample) == pytest.approx(
        (logs.std(), stats.skew(logs), stats.kurtosis(logs))
    )


def test_a_power_law_needs_unequal_weights():
    criteria = distributions.aic(np.full(9, 0.5))
    assert criteria["power law"] == np.inf and np.isfinite(criteria["exponential"])


def test_families_keep_their_order():
    """Records refer to a family by its position."""
    assert distributions.FAMILIES == (
        "lognormal",
        "gamma",
        "exponential",
        "half-normal",
        "normal",
        "power law",
    )
    assert tuple(distributions.aic(SAMPLES["gamma"])) == distributions.FAMILIES


def test_equal_weights_are_no_distribution():
    assert distributions.log_moments(np.full(9, 0.5)) == (0, 0, 0)
    assert distributions.ks_lognormal(np.full(9, 0.5)) == 1
