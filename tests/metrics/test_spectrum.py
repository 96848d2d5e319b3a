"""Exponents and dimensions of responses that were drawn with known ones."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.spectrum import participation_ratio, power_law, variances


def drawn(exponent: float, stimuli: int = 1000, units: int = 300, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    scales = np.arange(1, units + 1) ** (-exponent / 2)
    rotation, _ = np.linalg.qr(generator.standard_normal((units, units)))
    return generator.standard_normal((stimuli, units)) * scales @ rotation


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_the_exponent_of_a_power_law_is_found(exponent):
    fit = power_law(drawn(exponent))
    assert fit.exponent == pytest.approx(exponent, abs=0.12)
    assert (fit.first, fit.last) == (11, 150)
    assert fit.low < fit.exponent < fit.high and fit.high - fit.low < 0.3
    assert fit.r2 > 0.95


def test_two_slopes_are_seen_in_the_fit():
    generator = np.random.default_rng(0)
    scales = np.concatenate([np.ones(60), 0.02 * np.ones(240)])
    assert power_law(generator.standard_normal((1000, 300)) * scales).r2 < 0.9


def test_too_few_components_give_no_exponent():
    assert np.isnan(power_law(drawn(1.0, units=60)).exponent)
    assert np.isnan(power_law(np.ones((500, 200))).exponent)


def test_variances_are_those_of_the_covariance_either_way():
    for shape in ((50, 8), (8, 50)):
        x = np.random.default_rng(0).standard_normal(shape)
        expected = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / (shape[0] - 1)
        np.testing.assert_allclose(variances(x)[:7], expected[:7], rtol=1e-9)


def test_the_participation_ratio_counts_dimensions_without_bias():
    """The plain quotient would say 33 for 50 dimensions and 100 stimuli."""
    found = []
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((100, 50))
        found.append(participation_ratio(x))
    assert np.mean(found) == pytest.approx(50, rel=0.03)
    scales = np.array([3.0, 2.0, 1.0, 1.0])
    expected = (scales**2).sum() ** 2 / (scales**4).sum()
    x = np.random.default_rng(0).standard_normal((20000, 4)) * scales
    assert participation_ratio(x) == pytest.approx(expected, rel=0.05)
    assert np.isnan(participation_ratio(np.ones((10, 3))))


@pytest.mark.parametrize("exponent", [0.8, 1.0])
def test_a_known_exponent_is_inside_its_interval_with_enough_stimuli(exponent):
    fit = power_law(drawn(exponent, stimuli=2000))
    assert fit.low < exponent < fit.high
