"""How well a score separates images that are like those of training from others."""

from __future__ import annotations

import numpy as np

KEPT = 0.95
"""Share of the inside images that a threshold must accept."""


def max_logit(logits: np.ndarray) -> np.ndarray:
    """The largest logit, (N,): Hendrycks et al. 2022 (Scaling out-of-distribution detection)."""
    largest: np.ndarray = logits.max(axis=1)
    return largest


def energy(logits: np.ndarray) -> np.ndarray:
    """The negative energy, log of the sum of exponentials, (N,): Liu et al. 2020, eq. 4, T = 1.

    >>> energy(np.log([[1.0, 2.0, 5.0]])).round(6).tolist() == np.log([8.0]).round(6).tolist()
    True
    """
    largest = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - largest).sum(axis=1)
    result: np.ndarray = largest[:, 0] + np.log(total)
    return result


def max_probability(logits: np.ndarray) -> np.ndarray:
    """The largest probability, as a logarithm, (N,): Hendrycks & Gimpel 2017.

    A logarithm, because probabilities near 1 are equal in floating point.
    """
    return max_logit(logits) - energy(logits)


SCORES = {"max_logit": max_logit, "energy": energy, "max_probability": max_probability}
"""Name -> score, larger inside."""


def placements(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """For each inside score, the share of outside scores below it; ties count half.

    Its mean is the area under the ROC curve (AUROC).

    >>> placements(np.array([2.0, 1.0]), np.array([0.0, 1.0])).tolist()
    [1.0, 0.75]

    Args:
        inside: (N,).
        outside: (M,).

    Returns:
        float64 (N,).
    """
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left")
    up_to = np.searchsorted(ordered, inside, side="right")
    result: np.ndarray = (below + up_to) / (2 * len(outside))
    return result


def accepted(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Which outside scores pass the highest threshold that accepts 95 % of the inside ones.

    The mean is FPR95, the false positive rate at a true positive rate of at least 95 %.

    >>> accepted(np.arange(100.0), np.array([4.0, 5.0, 50.0])).tolist()
    [0, 1, 1]

    Args:
        inside: (N,).
        outside: (M,).

    Returns:
        uint8 (M,).
    """
    # A little more, so that 0.05 N does not fall below a whole number by rounding.
    rejected = int(np.floor((1 - KEPT) * len(inside) + 1e-9))
    threshold = np.sort(inside)[rejected]
    return (outside >= threshold).astype(np.uint8)
