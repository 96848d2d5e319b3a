"""Power of paired tests: the differences that they can find, and the units that they need."""

from __future__ import annotations

import math
from statistics import NormalDist

from harness.metrics.statistics import normal_quantile


def detectable_difference(n: int, spread: float, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true mean difference that a paired test finds with probability ``power``.

    It is (z_level + z_power) * spread / sqrt(n), by the normal approximation.

    >>> round(detectable_difference(100, 0.2), 4)
    0.056

    Args:
        n: units, e.g. episodes.
        spread: standard deviation of the difference of a unit.
        level: confidence level of the test.
        power: probability of finding the difference.
    """
    return (normal_quantile(level) + NormalDist().inv_cdf(power)) * spread / math.sqrt(n)


def detectable_accuracy_difference(
    n: int, disagreement: float = 0.1, level: float = 0.95, power: float = 0.8
) -> float:
    """Smallest true difference of two accuracies on the same samples that a paired test finds.

    The difference of two verdicts is -1, 0 or 1. Its variance is at most the share of samples that
    exactly one of the two gets right.

    Args:
        n: samples.
        disagreement: that share.
        level: as in ``detectable_difference``.
        power: as in ``detectable_difference``.
    """
    return detectable_difference(n, math.sqrt(disagreement), level, power)


def units_needed(spread: float, difference: float, level: float = 0.95, power: float = 0.8) -> int:
    """Units that a paired test needs to find a true mean difference with probability ``power``.

    >>> units_needed(0.1, 0.02)
    197

    Args:
        spread: standard deviation of the difference of a unit.
        difference: the true mean difference.
        level: confidence level of the test.
        power: probability of finding the difference.
    """
    quantiles = normal_quantile(level) + NormalDist().inv_cdf(power)
    return math.ceil((quantiles * spread / difference) ** 2)
