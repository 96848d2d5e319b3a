"""Calibration and separation from outside images, against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score, roc_curve

from harness.metrics.calibration import (
    best_temperature,
    expected_calibration_error,
    log_probabilities,
    negative_log_likelihood,
    reliability,
)
from harness.metrics.outside import SCORES, accepted, energy, placements
from harness.rng import Rng

NUMBERS = Rng(0).numpy("calibration")
LOGITS = 3 * NUMBERS.standard_normal((400, 5))
LABELS = NUMBERS.integers(0, 5, 400)


def test_likelihood_is_the_log_loss_of_scikit_learn_whatever_the_offset():
    nll = negative_log_likelihood(LOGITS, LABELS).mean()
    assert nll == pytest.approx(log_loss(LABELS, np.exp(log_probabilities(LOGITS))))
    assert negative_log_likelihood(LOGITS + 1e4, LABELS).mean() == pytest.approx(nll)


def test_labels_drawn_from_the_softmax_at_a_temperature_give_that_temperature_back():
    shares = np.exp(log_probabilities(np.repeat(LOGITS, 50, 0), 2.5))
    draws = NUMBERS.random((len(shares), 1))
    labels = (shares.cumsum(1) < draws).sum(1).clip(max=4)
    found = best_temperature(np.repeat(LOGITS, 50, 0), labels)
    assert found == pytest.approx(2.5, rel=0.05)
    # Scaling the logits scales the temperature, and no more.
    again = best_temperature(7 * np.repeat(LOGITS, 50, 0), labels)
    assert again == pytest.approx(7 * found, rel=1e-3)


def test_ece_of_a_perfect_and_of_an_always_sure_classifier():
    sure = reliability(np.ones(10), np.array([1] * 7 + [0] * 3))
    assert expected_calibration_error(sure) == pytest.approx(0.3)
    perfect = reliability(np.full(10, 0.7), np.array([1] * 7 + [0] * 3))
    assert expected_calibration_error(perfect) == pytest.approx(0)


def test_ece_is_the_sum_over_bins_of_guo():
    confidence, correct = NUMBERS.random(500), NUMBERS.integers(0, 2, 500)
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    bins = reliability(confidence, correct)
    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert sum(each.count for each in bins.values()) == 500


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1), st.lists(st.integers(0, 6), min_size=1))
def test_auroc_is_that_of_scikit_learn_ties_included(inside, outside):
    scores = np.array([*inside, *outside], float)
    truth = [1] * len(inside) + [0] * len(outside)
    mean = placements(np.array(inside, float), np.array(outside, float)).mean()
    assert mean == pytest.approx(roc_auc_score(truth, scores))


def test_fpr95_is_the_lowest_rate_of_the_roc_curve_at_95_percent():
    inside, outside = NUMBERS.standard_normal(333) + 1, NUMBERS.standard_normal(400)
    truth = [1] * 333 + [0] * 400
    false, true, _ = roc_curve(truth, np.concatenate([inside, outside]), drop_intermediate=False)
    assert accepted(inside, outside).mean() == pytest.approx(false[true >= 0.95].min())


def test_normal_scores_have_the_auroc_of_the_normal_distribution():
    from scipy.stats import norm

    inside, outside = NUMBERS.standard_normal(40_000) + 1.5, NUMBERS.standard_normal(40_000)
    assert placements(inside, outside).mean() == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=0.004)


def test_energy_is_log_sum_exp_and_probability_the_softmax():
    from scipy.special import logsumexp

    assert np.allclose(energy(LOGITS), logsumexp(LOGITS, axis=1))
    assert np.allclose(
        np.exp(SCORES["max_probability"](LOGITS)), np.exp(log_probabilities(LOGITS)).max(1)
    )
