"""Distributions of synaptic weights.

All functions take the sizes of live weights: positive numbers w, (n,).
"""

from __future__ import annotations

import math

import numpy as np

FAMILIES = ("lognormal", "gamma", "exponential", "half-normal", "normal", "power law")
"""The families that are compared. A result refers to one by its position: the order is fixed."""
ALL_EQUAL = 1e-12
"""A standard deviation of log w up to this counts as zero."""


def log_moments(sizes: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation, skew and excess kurtosis of log w.

    Skew and kurtosis are 0 for a lognormal distribution. Cortical synapses have a standard
    deviation of about 0.8 to 1 (Song et al. 2005).

    Returns:
        The three moments, those of the whole set (not sample estimates); all 0 if sizes are equal.
    """
    logs = np.log(np.asarray(sizes, np.float64))
    centred = logs - logs.mean()
    sigma = math.sqrt(float((centred**2).mean()))
    if sigma <= ALL_EQUAL:
        return 0.0, 0.0, 0.0
    skew = float((centred**3).mean()) / sigma**3
    kurtosis = float((centred**4).mean()) / sigma**4 - 3
    return sigma, skew, kurtosis


def ks_lognormal(sizes: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance between log w and the normal distribution fitted to it.

    It is the largest gap between the two distribution functions, in [0, 1]; 1 if sizes are equal.
    It is meant as a distance, not as a test: with 10^5 weights any family is rejected.
    """
    from scipy.special import ndtr

    logs = np.sort(np.log(np.asarray(sizes, np.float64)))
    sigma = logs.std()
    n = len(logs)
    if sigma <= ALL_EQUAL:
        return 1.0
    fitted = ndtr((logs - logs.mean()) / sigma)
    # The empirical distribution jumps at each value: both ends of the step count.
    steps = np.arange(n + 1) / n
    above = (steps[1:] - fitted).max()
    below = (fitted - steps[:-1]).max()
    return float(max(above, below))


def aic(sizes: np.ndarray) -> dict[str, float]:
    """Akaike's criterion of each family at its maximum likelihood; lower is better.

    It is 2 k - 2 log L for k fitted parameters.
    """
    w = np.asarray(sizes, np.float64)
    fits = {
        "lognormal": (2, _lognormal(w)),
        "gamma": (2, _gamma(w)),
        "exponential": (1, _exponential(w)),
        "half-normal": (1, _half_normal(w)),
        "normal": (2, _normal(w)),
        "power law": (2, _power_law(w)),
    }
    criteria = {}
    for name in FAMILIES:
        parameters, log_likelihood = fits[name]
        criteria[name] = 2 * parameters - 2 * log_likelihood
    return criteria


def _normal(w: np.ndarray) -> float:
    """Log likelihood of a normal distribution with the mean and variance of ``w``."""
    variance = max(float(w.var()), 1e-300)
    return -0.5 * len(w) * (math.log(2 * math.pi * variance) + 1)


def _lognormal(w: np.ndarray) -> float:
    """Log likelihood of log w under a normal distribution, less the logs of dw / dlog w."""
    logs = np.log(w)
    return _normal(logs) - float(logs.sum())


def _exponential(w: np.ndarray) -> float:
    """Log likelihood of an exponential distribution with the mean of ``w``."""
    return -len(w) * (math.log(float(w.mean())) + 1)


def _half_normal(w: np.ndarray) -> float:
    """Log likelihood of a half-normal distribution with the mean square of ``w``."""
    return -0.5 * len(w) * (math.log(math.pi * float((w**2).mean()) / 2) + 1)


def _power_law(w: np.ndarray) -> float:
    """Log likelihood of Pareto's density a m^a / w^(a + 1) above the smallest weight m.

    The slope is a = n / sum log(w / m) (Clauset et al. 2009). The likelihood is unbounded, and -inf
    is returned, if all weights are equal.
    """
    n = len(w)
    smallest = float(w.min())
    excess = float(np.log(w / smallest).sum())
    if excess <= ALL_EQUAL:
        return -math.inf
    slope = n / excess
    return n * math.log(slope) - n * math.log(smallest) - (slope + 1) * excess


def _gamma(w: np.ndarray) -> float:
    """Log likelihood of a gamma distribution of shape k and scale mean(w) / k.

    The shape solves log k - digamma(k) = log mean(w) - mean(log w), by Newton's method from a close
    approximation (Minka 2002); five steps reach the last bit.
    """
    from scipy.special import digamma, gammaln, polygamma

    mean = float(w.mean())
    mean_log = float(np.log(w).mean())
    gap = max(math.log(mean) - mean_log, 1e-12)
    shape = (3 - gap + math.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(5):
        slope = 1 / shape - float(polygamma(1, shape))
        error = math.log(shape) - float(digamma(shape)) - gap
        # Minka's step is Newton's in 1 / shape, which cannot become negative.
        shape = 1 / (1 / shape + error / (shape**2 * slope))
    scale = mean / shape
    density = (shape - 1) * mean_log - shape - float(gammaln(shape)) - shape * math.log(scale)
    return len(w) * density
