"""Families of distributions: told apart, left open, and fitted where small values are missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.metrics.tails import FAMILIES, fit, fits, lognormal_lead, vuong


def lognormal(n: int, sigma: float = 0.94, seed: int = 0) -> np.ndarray:
    return np.exp(sigma * np.random.default_rng(seed).standard_normal(n))


SCIPY = {
    "lognormal": lambda p: stats.lognorm(p[0], scale=p[1]),
    "gamma": lambda p: stats.gamma(p[0], scale=p[1]),
    "weibull": lambda p: stats.weibull_min(p[0], scale=p[1]),
    "exponential": lambda p: stats.expon(scale=p[0]),
    "half-normal": lambda p: stats.halfnorm(scale=p[0]),
    "pareto": lambda p: stats.pareto(p[0], scale=p[1]),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_fits_and_densities_are_scipys(family):
    values = lognormal(300)
    got = fit(family, values)
    frozen = SCIPY[family](got.parameters)
    np.testing.assert_allclose(got.log_density, frozen.logpdf(values), rtol=1e-9, atol=1e-9)
    reference = {
        "lognormal": lambda: stats.lognorm.fit(values, floc=0),
        "gamma": lambda: stats.gamma.fit(values, floc=0),
        "weibull": lambda: stats.weibull_min.fit(values, floc=0),
        "exponential": lambda: stats.expon.fit(values, floc=0),
        "half-normal": lambda: stats.halfnorm.fit(values, floc=0),
        "pareto": lambda: stats.pareto.fit(values, floc=0),
    }[family]()
    theirs = getattr(
        stats,
        {
            "lognormal": "lognorm",
            "weibull": "weibull_min",
            "exponential": "expon",
            "half-normal": "halfnorm",
        }.get(family, family),
    ).logpdf(values, *reference)
    assert got.log_density.sum() >= theirs.sum() - 1e-3


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_cut_lognormal_has_its_sigma_back(share):
    values = lognormal(20000)
    cut = float(np.quantile(values, share))
    left = values[values >= cut]
    plain = fit("lognormal", left).parameters[0]
    assert plain < 0.75
    assert fit("lognormal", left, cut).parameters[0] == pytest.approx(0.94, abs=0.06)


def test_a_cut_half_normal_is_not_taken_for_a_lognormal():
    values = np.abs(np.random.default_rng(0).standard_normal(20000))
    cut = float(np.quantile(values, 0.2))
    left = values[values >= cut]
    assert vuong(fit("lognormal", left, cut), fit("half-normal", left, cut)) < -5


def test_families_are_told_apart_of_enough_units():
    against = lognormal_lead(fits(lognormal(500)))
    assert all(z > 1.96 for z in against.values())
    generator = np.random.default_rng(0)
    assert lognormal_lead(fits(generator.gamma(2, size=1500)))["gamma"] < -1.96
    assert lognormal_lead(fits(generator.exponential(size=500)))["exponential"] < -1.96
    assert lognormal_lead(fits(np.abs(generator.standard_normal(500))))["half-normal"] < -1.96


def test_fifty_units_often_cannot_decide():
    against = [lognormal_lead(fits(lognormal(50, 0.5, seed)))["gamma"] for seed in range(10)]
    assert sum(abs(z) < 1.96 for z in against) > 5


def test_a_gamma_is_hardly_ever_called_lognormal():
    draws = np.random.default_rng(1).gamma(2, size=(20, 150))
    assert sum(lognormal_lead(fits(each))["gamma"] > 1.96 for each in draws) <= 1


def test_copies_in_a_cluster_are_no_evidence():
    values = lognormal(60, 0.5)
    copied = np.repeat(values, 30)
    clusters = np.repeat(np.arange(60), 30)
    ours, theirs = fit("lognormal", copied), fit("gamma", copied)
    naive = vuong(ours, theirs)
    honest = vuong(ours, theirs, clusters)
    assert abs(naive) > 3 * abs(honest)
