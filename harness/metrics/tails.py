"""Which family a distribution of positive numbers belongs to, or that it cannot be told.

Akaike's criterion always names a family. Vuong's test (1989, Econometrica 57) says when the better
of two is not shown to be better. Where small values were cut away, as pruning does, all families
are fitted truncated at the same point: an exact lognormal of sigma 0.94 that lost its smallest 20 %
otherwise reads 0.72.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.lazy import stats

SHOWN = 1.96
"""Size of Vuong's z from which one family is shown to be better, two-sided 5 %."""


@dataclass(frozen=True)
class Fit:
    """A family fitted by maximum likelihood.

    Attributes:
        family: Its name.
        parameters: As scipy takes them: (sigma, scale) of a lognormal, (shape, scale) of gamma and
            Weibull, (scale,) of exponential and half-normal, (slope, smallest) of Pareto.
        log_density: (n,), of each value.
    """

    family: str
    parameters: tuple[float, ...]
    log_density: np.ndarray

    @property
    def aic(self) -> float:
        """Akaike's criterion; lower is better."""
        return 2 * len(self.parameters) - 2 * float(self.log_density.sum())


def fit(family: str, values: np.ndarray, cut: float = 0.0) -> Fit:
    """Fit a family to values (n,), all of them positive and at least ``cut``.

    Args:
        family: One of ``FAMILIES``.
        values: The sample.
        cut: Smaller values were removed from it; 0 if none were.
    """
    values = np.asarray(values, np.float64)
    density, tail, start = FAMILIES[family]
    guess = start(values)
    if cut <= 0 and family in CLOSED_FORM:
        return Fit(family, guess, density(values, *guess))
    if family == "pareto":  # truncating a Pareto distribution leaves one
        return Fit(family, guess, density(values, *guess))

    def loss(logs: np.ndarray) -> float:
        parameters = np.exp(logs)
        each = density(values, *parameters)
        total = -float(each.sum())
        if cut > 0:
            total += len(values) * float(tail(cut, *parameters))
        return total if math.isfinite(total) else 1e300

    from scipy.optimize import minimize

    best = minimize(
        loss, np.log(guess), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}
    )
    parameters = tuple(float(each) for each in np.exp(best.x))
    each = density(values, *parameters)
    if cut > 0:
        each = each - float(tail(cut, *parameters))
    return Fit(family, parameters, each)


def vuong(one: Fit, other: Fit, clusters: np.ndarray | None = None) -> float:
    """Vuong's z: above 1.96 the first family is shown to be better, below -1.96 the other.

    z = (sum d - (k - k') log(n) / 2) / (sqrt(n) sd(d)), with d the difference of log densities and
    k the numbers of parameters. Undecided does not mean equal: with 100 values it is the rule.

    Args:
        one: A fit.
        other: Another, to the same values.
        clusters: (n,), values of one cluster are not independent, as the synapses of a neuron are
            not; sums over clusters then take the place of single differences.
    """
    difference = one.log_density - other.log_density
    n = len(difference)
    if clusters is not None:
        group = np.unique(clusters, return_inverse=True)[1]
        difference = np.bincount(group, weights=difference)
    penalty = (len(one.parameters) - len(other.parameters)) / 2 * math.log(n)
    count = len(difference)
    if count < 2:
        return float("nan")
    spread = float(difference.std(ddof=1)) * math.sqrt(count)
    return (float(difference.sum()) - penalty) / spread if spread > 0 else float("nan")


def fits(values: np.ndarray, cut: float = 0.0) -> dict[str, Fit]:
    """Every family fitted to the same values; see ``fit``."""
    return {name: fit(name, values, cut) for name in FAMILIES}


def lognormal_lead(fitted: dict[str, Fit], clusters: np.ndarray | None = None) -> dict[str, float]:
    """Vuong's z of the lognormal against every other family.

    Args:
        fitted: By family, of the same values.
        clusters: As for ``vuong``.
    """
    ours = fitted["lognormal"]
    return {
        name: vuong(ours, other, clusters) for name, other in fitted.items() if name != "lognormal"
    }


def _lognormal(x: np.ndarray, sigma: float, scale: float) -> np.ndarray:
    z = (np.log(x) - math.log(scale)) / sigma
    out: np.ndarray = -(z**2) / 2 - np.log(x) - math.log(sigma * math.sqrt(2 * math.pi))
    return out


def _gamma(x: np.ndarray, shape: float, scale: float) -> np.ndarray:
    out: np.ndarray = stats.gamma.logpdf(x, shape, scale=scale)
    return out


def _weibull(x: np.ndarray, shape: float, scale: float) -> np.ndarray:
    out: np.ndarray = stats.weibull_min.logpdf(x, shape, scale=scale)
    return out


def _exponential(x: np.ndarray, scale: float) -> np.ndarray:
    return -x / scale - math.log(scale)


def _half_normal(x: np.ndarray, scale: float) -> np.ndarray:
    return -(x**2) / (2 * scale**2) - math.log(scale) + 0.5 * math.log(2 / math.pi)


def _pareto(x: np.ndarray, slope: float, smallest: float) -> np.ndarray:
    out: np.ndarray = math.log(slope) + slope * math.log(smallest) - (slope + 1) * np.log(x)
    return out


def _start_lognormal(x: np.ndarray) -> tuple[float, ...]:
    logs = np.log(x)
    return max(float(logs.std()), 1e-9), math.exp(float(logs.mean()))


def _start_shape(x: np.ndarray) -> tuple[float, ...]:
    mean, variance = float(x.mean()), float(x.var())
    shape = min(max(mean**2 / max(variance, 1e-300), 1e-3), 1e6)
    return shape, mean / shape


def _start_weibull(x: np.ndarray) -> tuple[float, ...]:
    spread = max(float(np.log(x).std()), 1e-6)
    return 1.2825 / spread, float(x.mean())


def _start_pareto(x: np.ndarray) -> tuple[float, ...]:
    smallest = float(x.min())
    excess = max(float(np.log(x / smallest).sum()), 1e-300)
    return len(x) / excess, smallest


Density = Callable[..., np.ndarray]

FAMILIES: dict[str, tuple[Density, Callable[..., float], Callable[..., tuple[float, ...]]]] = {
    "lognormal": (
        _lognormal,
        lambda cut, sigma, scale: stats.norm.logsf((math.log(cut) - math.log(scale)) / sigma),
        _start_lognormal,
    ),
    "gamma": (
        _gamma,
        lambda cut, shape, scale: stats.gamma.logsf(cut, shape, scale=scale),
        _start_shape,
    ),
    "weibull": (
        _weibull,
        lambda cut, shape, scale: stats.weibull_min.logsf(cut, shape, scale=scale),
        _start_weibull,
    ),
    "exponential": (_exponential, lambda cut, scale: -cut / scale, lambda x: (float(x.mean()),)),
    "half-normal": (
        _half_normal,
        lambda cut, scale: stats.halfnorm.logsf(cut, scale=scale),
        lambda x: (math.sqrt(float((x**2).mean())),),
    ),
    "pareto": (_pareto, lambda cut, slope, smallest: 0.0, _start_pareto),
}
"""Name -> log density, log of the share above a cut, and a first guess of the parameters."""

CLOSED_FORM = frozenset({"lognormal", "exponential", "half-normal", "pareto"})
"""Families whose guess is the maximum likelihood if nothing was cut away."""
