"""Excitation and inhibition: the two halves of the drive that units get from signed weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Balance:
    """How the excitatory and inhibitory drives of units relate.

    Attributes:
        ratio: All excitation over all inhibition.
        correlation: Of the two drives of a unit over stimuli; median over units.
        given_common: The same after the part that all units share was regressed out.
        cancelled: 1 - |E - I| / (E + I), mean over units and stimuli; 1 if nothing is left.
    """

    ratio: float
    correlation: float
    given_common: float
    cancelled: float


def balance(inputs: np.ndarray, weight: np.ndarray) -> Balance | None:
    """Measure the drives E = x W+ and I = x W-; None if a unit type is missing.

    Correlation of drives is no evidence of balance by itself: where all inputs rise and fall
    together, as the ink of a digit does, random weights reach 0.9.

    Args:
        inputs: (stimuli, pre), not negative.
        weight: (pre, post), signed.
    """
    excitation = inputs @ np.maximum(weight, 0)
    inhibition = inputs @ np.maximum(-weight, 0)
    if not excitation.any() or not inhibition.any():
        return None
    total = excitation + inhibition
    driven = total > 0
    return Balance(
        ratio=float(excitation.sum() / inhibition.sum()),
        correlation=_median_correlation(excitation, inhibition),
        given_common=_median_correlation(_without_common(excitation), _without_common(inhibition)),
        cancelled=float(1 - (np.abs(excitation - inhibition)[driven] / total[driven]).mean()),
    )


def _without_common(drive: np.ndarray) -> np.ndarray:
    """Drives (stimuli, units) less what is linear in their mean over units."""
    centred = drive - drive.mean(0)
    common = centred.mean(1, keepdims=True)
    power = float((common**2).sum())
    if power <= 0:
        return centred
    rest: np.ndarray = centred - common * (common * centred).sum(0) / power
    return rest


def _median_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Median over units (columns) of the correlation over stimuli; nan if none varies."""
    one = one - one.mean(0)
    other = other - other.mean(0)
    length = np.sqrt((one**2).sum(0) * (other**2).sum(0))
    tiny = 1e-9 * max(float(length.max(initial=0.0)), 1e-300)
    varies = length > tiny
    if not varies.any():
        return float("nan")
    return float(np.median((one * other).sum(0)[varies] / length[varies]))
