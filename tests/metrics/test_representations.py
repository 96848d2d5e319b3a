"""Rank correlations, ceilings and intervals of representational similarity."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from harness.metrics.representations import (
    correlation,
    dissimilarities,
    mean_correlation,
    noise_ceiling,
    permutation_p,
    resampled,
)

S = 24


def random_pairs(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return dissimilarities(generator.standard_normal((S, 10)))


def test_dissimilarities_are_scipys_correlation_distances():
    responses = np.random.default_rng(0).standard_normal((9, 5))
    np.testing.assert_allclose(dissimilarities(responses), pdist(responses, "correlation"))
    responses[2] = 0.4
    assert np.isnan(dissimilarities(responses)).sum() == 8


def test_ranks_are_all_that_counts():
    pairs = random_pairs(0)
    for kind in ("spearman", "tau-a"):
        assert correlation(pairs, np.exp(3 * pairs), kind) == pytest.approx(1)
        assert correlation(pairs, -pairs, kind) == pytest.approx(-1)
        assert np.isnan(correlation(pairs, np.ones_like(pairs), kind))


def test_tau_a_counts_pairs_and_gives_ties_no_credit():
    one = np.array([1.0, 2, 2, 3, 5, 5])
    other = np.array([2.0, 1, 3, 3, 4, 6])
    signs = [
        np.sign(one[i] - one[j]) * np.sign(other[i] - other[j])
        for i, j in itertools.combinations(range(6), 2)
    ]
    assert correlation(one, other, "tau-a") == pytest.approx(np.sum(signs) / 15)
    truth = np.arange(20.0)
    categories = (truth >= 10).astype(float)
    assert correlation(categories, truth, "tau-a") < 0.6 < correlation(categories, truth)


def test_ceilings_of_identical_and_of_independent_subjects():
    same = noise_ceiling(np.tile(random_pairs(0), (4, 1)))
    assert same.lower == pytest.approx(1) and same.upper == pytest.approx(1)
    lows, highs = [], []
    for seed in range(20):
        ceiling = noise_ceiling(np.stack([random_pairs(50 * seed + i) for i in range(4)]))
        lows.append(ceiling.lower)
        highs.append(ceiling.upper)
    assert abs(np.mean(lows)) < 0.05
    assert np.mean(highs) == pytest.approx(1 / np.sqrt(4), abs=0.05)


def test_the_interval_over_stimuli_is_as_wide_as_new_stimuli_would_make_it():
    """Against the spread of the correlation over freshly drawn sets of stimuli."""
    mixing = np.random.default_rng(0).standard_normal((10, 10))

    def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.random.default_rng(seed).standard_normal((S, 10))
        return dissimilarities(x), dissimilarities(x + x @ mixing / 4)[None]

    fresh = np.std([mean_correlation(*drawn(seed)) for seed in range(100)])
    boot = np.mean([resampled(*drawn(seed), draws=60, seed=0).std() for seed in range(8)])
    assert 0.7 * fresh < boot < 1.6 * fresh


def test_the_same_seed_resamples_every_model_alike():
    subjects = np.stack([random_pairs(i) for i in range(3)])
    model = random_pairs(9)
    first = resampled(model, subjects, 10, seed=1)
    assert np.array_equal(first, resampled(2 * model, subjects, 10, seed=1))


def test_p_is_uniform_for_unrelated_models_and_small_for_the_same():
    subjects = random_pairs(0)[None]
    ps = [permutation_p(random_pairs(seed), subjects, 99, seed=0) for seed in range(1, 41)]
    assert 0.3 < np.mean(ps) < 0.7 and min(ps) < 0.2
    assert permutation_p(random_pairs(0), subjects, 99, seed=0) == pytest.approx(0.01)
