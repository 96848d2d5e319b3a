"""Dimensionality of responses: the decay of their principal components, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST = 11
"""Components before this one, counted from 1, are no part of a power law (Stringer et al. 2019)."""

LAST = 500
FEWEST = 50
"""Least number of components that a fit needs."""

GROUPS = 10
"""Groups of stimuli that the jackknife leaves out in turn."""


@dataclass(frozen=True)
class PowerLaw:
    """A fit of variance ~ n^-exponent to components first .. last.

    Attributes:
        exponent: nan if there are too few components.
        low, high: 95 % interval, by a jackknife over groups of stimuli.
        r2: Share of the variance of log variances that the line explains.
        first, last: The range of the fit, counted from 1.
    """

    exponent: float
    low: float
    high: float
    r2: float
    first: int
    last: int


def variances(responses: np.ndarray) -> np.ndarray:
    """Variances of the principal components of responses (stimuli, units), descending.

    Responses are centred and not scaled: scaling units changes the exponent.
    """
    x = np.asarray(responses, np.float64)
    x = x - x.mean(0)
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    values = np.linalg.eigvalsh(gram)[::-1] / max(len(x) - 1, 1)
    return np.maximum(values, 0)


def power_law(responses: np.ndarray) -> PowerLaw:
    """Fit the eigenspectrum of responses (stimuli, units).

    Weighted least squares of log variance on log n, weights 1 / n, as in Stringer et al. 2019. The
    range ends at half the rank, a quarter of the stimuli, or 500: beyond, variances of a sample
    bend down. 1 is mouse V1 on natural images; the exponent depends on the stimuli, so print that
    of their pixels beside it.
    """
    responses = np.asarray(responses, np.float64)
    spectrum = variances(responses)
    rank = int((spectrum > spectrum[0] * 1e-12).sum()) if spectrum[0] > 0 else 0
    last = min(LAST, rank // 2, len(responses) // 4)
    if last - FIRST + 1 < FEWEST:
        nan = float("nan")
        return PowerLaw(nan, nan, nan, nan, FIRST, last)
    exponent, r2 = _line(spectrum, last)
    group = np.arange(len(responses)) * GROUPS // len(responses)
    without = [_line(variances(responses[group != each]), last)[0] for each in range(GROUPS)]
    spread = float(np.sqrt((GROUPS - 1) * np.var(without)))
    half = 2.262 * spread  # Student's t, 9 degrees of freedom, 97.5 %
    return PowerLaw(exponent, exponent - half, exponent + half, r2, FIRST, last)


def _line(spectrum: np.ndarray, last: int) -> tuple[float, float]:
    """Slope, as a positive exponent, and weighted R^2."""
    n = np.arange(FIRST, last + 1)
    x, y = np.log(n), np.log(np.maximum(spectrum[FIRST - 1 : last], 1e-300))
    weight = 1 / n
    x = x - np.average(x, weights=weight)
    y = y - np.average(y, weights=weight)
    slope = (weight * x * y).sum() / (weight * x * x).sum()
    unexplained = (weight * (y - slope * x) ** 2).sum()
    total = (weight * y * y).sum()
    return -float(slope), 1 - float(unexplained / total) if total > 0 else float("nan")


def participation_ratio(responses: np.ndarray) -> float:
    """(sum of variances)^2 / sum of squared variances: how many dimensions responses fill.

    Responses (stimuli, units). The sums are unbiased for Gaussian responses; the plain quotient is
    at most the number of stimuli. With m = n - 1, t = tr S and q = tr S^2 of the sample covariance:
    T = m^2 (q - t^2 / m) / ((m - 1) (m + 2)) estimates tr Sigma^2, and t^2 - 2 T / m the square of
    tr Sigma. nan if responses are constant or there are fewer than three.
    """
    spectrum = variances(responses)
    m = len(responses) - 1
    t, q = float(spectrum.sum()), float((spectrum**2).sum())
    if m < 2 or t <= 0:
        return float("nan")
    of_squares = m**2 * (q - t**2 / m) / ((m - 1) * (m + 2))
    if of_squares <= 0:
        return float("nan")
    return (t**2 - 2 * of_squares / m) / of_squares
