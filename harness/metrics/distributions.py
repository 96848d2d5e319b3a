"""Which distribution synaptic weights follow. All functions take the sizes of live weights, positive, (n,)."""

from __future__ import annotations

import math

import numpy as np

FAMILIES = ("lognormal", "gamma", "exponential", "half-normal", "normal", "power law")
"""Families that are compared. A result names one by its place here."""


def log_moments(sizes: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation, skew and excess kurtosis of log w; skew and kurtosis are 0 for a lognormal.

    Cortical synapses have a standard deviation of about 0.8 to 1 (Song et al. 2005).
    """
    logs = np.log(np.asarray(sizes, np.float64))
    centred = logs - logs.mean()
    sigma = math.sqrt(float((centred**2).mean()))
    if sigma <= 1e-12:
        return 0.0, 0.0, 0.0
    return sigma, float((centred**3).mean()) / sigma**3, float((centred**4).mean()) / sigma**4 - 3


def ks_lognormal(sizes: np.ndarray) -> float:
    """Largest gap between the distribution of log w and the normal one fitted to it (Kolmogorov-Smirnov distance).

    A distance, not a test: with 10^5 weights any family is rejected.
    """
    from scipy.special import ndtr

    logs = np.sort(np.log(np.asarray(sizes, np.float64)))
    sigma, n = logs.std(), len(logs)
    if sigma <= 1e-12:
        return 1.0
    fitted = ndtr((logs - logs.mean()) / sigma)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - fitted).max(), (fitted - steps[:-1]).max()))


def aic(sizes: np.ndarray) -> dict[str, float]:
    """Akaike's criterion 2k - 2 log L of each family at its maximum likelihood; lower is better."""
    w = np.asarray(sizes, np.float64)
    likelihoods = {
        "lognormal": (2, _lognormal(w)),
        "gamma": (2, _gamma(w)),
        "exponential": (1, _exponential(w)),
        "half-normal": (1, _half_normal(w)),
        "normal": (2, _normal(w)),
        "power law": (2, _power_law(w)),
    }
    return {name: 2 * likelihoods[name][0] - 2 * likelihoods[name][1] for name in FAMILIES}


def _normal(w: np.ndarray) -> float:
    return -0.5 * len(w) * (math.log(2 * math.pi * max(float(w.var()), 1e-300)) + 1)


def _lognormal(w: np.ndarray) -> float:
    logs = np.log(w)
    return _normal(logs) - float(logs.sum())


def _exponential(w: np.ndarray) -> float:
    return -len(w) * (math.log(float(w.mean())) + 1)


def _half_normal(w: np.ndarray) -> float:
    return -0.5 * len(w) * (math.log(math.pi * float((w**2).mean()) / 2) + 1)


def _power_law(w: np.ndarray) -> float:
    """Pareto's density a m^a / w^(a + 1) above the smallest weight m (Clauset et al. 2009); m counts as fitted too."""
    smallest = float(w.min())
    excess = float(np.log(w / smallest).sum())
    if excess <= 1e-12:
        return -math.inf
    slope = len(w) / excess
    return len(w) * math.log(slope) - len(w) * math.log(smallest) - (slope + 1) * excess


def _gamma(w: np.ndarray) -> float:
    """Shape k from log k - digamma(k) = log mean w - mean log w, by Newton's method (Minka 2002)."""
    from scipy.special import digamma, gammaln, polygamma

    mean, mean_log = float(w.mean()), float(np.log(w).mean())
    gap = max(math.log(mean) - mean_log, 1e-12)
    shape = (3 - gap + math.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(5):
        slope = 1 / shape - float(polygamma(1, shape))
        shape = 1 / (
            1 / shape + (math.log(shape) - float(digamma(shape)) - gap) / (shape**2 * slope)
        )
    scale = mean / shape
    return len(w) * (
        (shape - 1) * mean_log - shape - float(gammaln(shape)) - shape * math.log(scale)
    )
