"""Selectivity, similarity and capacity against closed forms and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mutual_info_score

from harness.metrics import capacity, selectivity, similarity

RNG = np.random.default_rng(0)
GROUPS = np.repeat([0, 1, 2], 40)


def test_class_selectivity_of_known_units():
    rates = np.stack([GROUPS == 1, np.ones(120), np.zeros(120)], 1).astype(float)
    assert selectivity.class_selectivity(rates, GROUPS) == pytest.approx(
        [1, 0, np.nan], nan_ok=True
    )


def test_group_means_by_brute_force():
    rates = RNG.random((120, 5))
    expected = [rates[group == GROUPS].mean(0) for group in range(3)]
    assert selectivity.group_means(rates, GROUPS) == pytest.approx(np.array(expected))


def test_class_selectivity_by_its_formula():
    """Unequal class sizes: the rest is the mean over the other classes, not over their stimuli."""
    groups = np.repeat([0, 1, 2], [5, 50, 20])
    rates = RNG.random((75, 6))
    for found, unit in zip(selectivity.class_selectivity(rates, groups), rates.T, strict=True):
        means = [unit[groups == group].mean() for group in range(3)]
        best = max(means)
        means.remove(best)
        assert found == pytest.approx((best - np.mean(means)) / (best + np.mean(means)))


def test_eta_squared_is_the_one_of_a_one_way_anova():
    rates = RNG.normal(size=(120, 4)) + np.outer(GROUPS, [0, 0.2, 1, 5])
    for found, unit in zip(selectivity.eta_squared(rates, GROUPS), rates.T, strict=True):
        f = stats.f_oneway(*(unit[g == GROUPS] for g in range(3))).statistic
        assert found == pytest.approx(f * 2 / (f * 2 + 117))


def test_eta_squared_of_a_unit_that_never_changes_is_undefined():
    assert np.isnan(selectivity.eta_squared(np.ones((120, 1)), GROUPS)).all()


def test_mutual_information_is_sklearns_with_miller_and_madows_correction():
    rates = RNG.random((120, 3)) + np.outer(GROUPS, [0, 0.3, 9])
    for found, unit in zip(
        selectivity.mutual_information(rates, GROUPS, bins=4), rates.T, strict=True
    ):
        binned = (unit[:, None] > np.quantile(unit, [0.25, 0.5, 0.75])).sum(1)
        cells = [len(np.unique(x)) for x in (binned, GROUPS, binned * 3 + GROUPS)]
        bias = (cells[0] - 1 + cells[1] - 1 - (cells[2] - 1)) / 240
        assert found == pytest.approx((mutual_info_score(binned, GROUPS) + bias) / np.log(2))


def test_a_unit_that_knows_the_class_has_all_its_bits_and_a_constant_one_none():
    rates = np.stack([GROUPS.astype(float), np.ones(120)], 1)
    known, constant = selectivity.mutual_information(rates, GROUPS)
    assert known == pytest.approx(np.log2(3), abs=0.02) and np.isnan(constant)


def test_noise_has_hardly_any_information_after_the_correction():
    assert (
        abs(np.mean(selectivity.mutual_information(RNG.random((1000, 200)), np.arange(1000) % 10)))
        < 0.01
    )


def test_units_per_class():
    rates = np.zeros((120, 6))
    rates[:, :3] = 2.0
    assert selectivity.units_per_class(rates, GROUPS) == pytest.approx(3)
    rates[GROUPS == 2] = 0  # a class without any response is left out
    assert selectivity.units_per_class(rates, GROUPS) == pytest.approx(3)


def test_units_per_class_by_its_formula():
    rates = RNG.random((120, 6))
    ratios = []
    for group in range(3):
        m = rates[group == GROUPS].mean(0)
        ratios.append(m.sum() ** 2 / (m**2).sum())
    assert selectivity.units_per_class(rates, GROUPS) == pytest.approx(np.mean(ratios))


def test_clusters_are_found_without_labels():
    pixels = np.eye(3)[GROUPS] + 0.01 * RNG.normal(size=(120, 3))
    clusters = selectivity.stimulus_clusters(pixels, 3, seed=1)
    assert all(len(set(clusters[g == GROUPS])) == 1 for g in range(3)) and len(set(clusters)) == 3


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 8), st.integers(1, 60), st.floats(0.1, 10), st.integers(0, 99))
def test_cka_ignores_rotation_and_scale_and_stays_in_its_bounds(n_in, n_out, scale, seed):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(30, n_in)), generator.normal(size=(30, n_out))
    rotation = np.linalg.qr(generator.normal(size=(n_in, n_in)))[0]
    assert similarity.linear_cka(x, scale * x @ rotation + 3) == pytest.approx(1)
    assert similarity.linear_cka(x, y) == pytest.approx(
        similarity.linear_cka(scale * x @ rotation, y)
    )
    assert 0 <= similarity.linear_cka(x, y) <= 1 + 1e-9


@pytest.mark.parametrize("wide", [3, 40])
def test_cka_by_its_definition_on_centred_kernels(wide):
    """HSIC of the two linear kernels over the root of their own, on either side of N features."""
    x, y = RNG.normal(size=(25, wide)), RNG.random((25, 4)) + 5
    centre = np.eye(25) - 1 / 25
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert similarity.linear_cka(x, y) == pytest.approx(expected)
    assert similarity.linear_cka(y, x) == pytest.approx(expected)


def test_cka_of_something_constant_is_undefined():
    assert np.isnan(similarity.linear_cka(np.ones((5, 2)), RNG.normal(size=(5, 2))))


def test_information_of_known_codes():
    one_hot = np.eye(8)
    assert capacity.information(one_hot) == pytest.approx(8 * stats.entropy([1 / 8, 7 / 8], base=2))
    assert capacity.information(np.zeros((8, 3))) == 0
    uniform = np.tile((np.arange(16) + 0.5)[:, None], 2)
    assert capacity.information(uniform, levels=16) == pytest.approx(8)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(2, 20), st.integers(0, 99))
def test_information_by_its_definition(n, units, levels, seed):
    """Entropy of each unit's response in equal steps from 0 to its peak, summed."""
    rates = np.random.default_rng(seed).random((n, units)) ** 3
    expected = 0.0
    for unit in rates.T:
        # the peak itself is in the last step, as for numpy's histograms
        counts = np.histogram(unit, bins=levels, range=(0, unit.max()))[0]
        expected += stats.entropy(counts, base=2)
    assert capacity.information(rates, levels) == pytest.approx(expected, abs=1e-9)


def test_capacity_is_bits_a_live_synapse():
    assert capacity.capacity(12.8, 784) == pytest.approx(1.63e-2, rel=0.01) and np.isnan(
        capacity.capacity(1.0, 0)
    )
