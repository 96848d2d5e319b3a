"""Calibration: whether a classifier is right as often as it is confident."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15
"""Bins of equal width, as Guo et al. 2017 (On calibration of modern neural networks) use."""

LARGEST_LOG = 8.0
"""Temperatures are looked for from exp(-8) to exp(8)."""


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logarithms of the softmax, float64 (N, n_classes).

    >>> np.exp(log_probabilities(np.array([[0.0, np.log(3)]]))).round(2).tolist()
    [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def negative_log_likelihood(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> np.ndarray:
    """Negative logarithm of the right class's probability, in nats, float64 (N,)."""
    log_p = log_probabilities(logits, temperature)
    result: np.ndarray = -log_p[np.arange(len(labels)), labels]
    return result


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which some images are most likely (temperature scaling).

    The likelihood is concave in 1 / temperature, so there is one best value.

    >>> logits = np.array([[2.0, 0.0]] * 4)
    >>> round(best_temperature(logits, np.array([0, 0, 0, 1])), 3)  # logit 3 to 1 is log 3
    1.82
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(negative_log_likelihood(logits, labels, np.exp(log_temperature)).mean())

    bounds = (-LARGEST_LOG, LARGEST_LOG)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence.

    Attributes:
        count: how many.
        confidence: their mean confidence.
        right: how many are classified correctly.
    """

    count: int
    confidence: float
    right: int


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> dict[int, Bin]:
    """Sort images by confidence into bins of equal width, (k / bins, (k + 1) / bins].

    Args:
        confidence: (N,) in [0, 1], the probability of the predicted class.
        correct: (N,), 1 where that class is right.
        bins: how many.

    Returns:
        number of a bin -> what is in it; empty bins are left out.
    """
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = {}
    for place in np.unique(places):
        inside = places == place
        mean = float(confidence[inside].mean())
        found[int(place)] = Bin(int(inside.sum()), mean, int(correct[inside].sum()))
    return found


def expected_calibration_error(bins: dict[int, Bin]) -> float:
    """The mean distance of accuracy from confidence, bins weighed by their images.

    >>> expected_calibration_error({13: Bin(3, 0.9, 3), 5: Bin(1, 0.4, 0)})
    0.175
    """
    total = sum(each.count for each in bins.values())
    gaps = (abs(each.right - each.count * each.confidence) for each in bins.values())
    return round(sum(gaps), 12) / total
