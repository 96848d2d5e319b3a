"""Sparsity of synapses and of responses."""

from __future__ import annotations

import numpy as np

LIVE = 0.01
"""Share of the mean size above which a synapse is live, or up to which a unit is silent."""


def live_synapses(weight: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Find live synapses: those that exist and whose size exceeds 1 % of the mean size.

    The mean is over the synapses that exist. The rule is the same for all learners. Otherwise a
    learner whose mask means "not exactly zero" would count tiny weights that another's would not.

    >>> live_synapses(np.array([1.0, 0.001, -1.0])).tolist()
    [True, False, True]

    Args:
        weight: any shape.
        mask: bool, the shape of ``weight``: the synapses that exist; None for all.

    Returns:
        bool, the shape of ``weight``.
    """
    size = np.abs(weight)
    exists = np.ones(weight.shape, bool) if mask is None else np.asarray(mask, bool)
    if not exists.any():
        return exists
    return exists & (size > LIVE * size[exists].mean())


def treves_rolls(responses: np.ndarray, axis: int) -> np.ndarray:
    """Treves and Rolls' sparseness (1991), scaled as by Vinje & Gallant (2000).

    It is (1 - a) / (1 - 1/n) with a = mean(r)^2 / mean(r^2) of the sizes r: 0 if all n responses
    are equal, 1 for a single one.

    >>> treves_rolls(np.eye(2), axis=1).tolist()
    [1.0, 1.0]

    Args:
        responses: (stimuli, units).
        axis: 0 for each unit over its life (over stimuli), 1 for each stimulus over the population.

    Returns:
        float64, one value per unit or stimulus; nan without any response.
    """
    rates = np.abs(np.asarray(responses, np.float64))
    n = rates.shape[axis]
    square = (rates**2).mean(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        activity = rates.mean(axis) ** 2 / np.where(square > 0, square, np.nan)
        return (1 - activity) / (1 - 1 / n)


def hoyer(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Hoyer's sparseness (2004).

    It is (sqrt(n) - l1 / l2) / (sqrt(n) - 1): 0 if all n sizes are equal, 1 for a single one.

    Args:
        values: any shape.
        axis: the axis of the n values.

    Returns:
        float64 without that axis; nan where all values are zero.
    """
    size = np.abs(np.asarray(values, np.float64))
    root = np.sqrt(size.shape[axis])
    length = np.sqrt((size**2).sum(axis))
    ratio = size.sum(axis) / np.where(length > 0, length, np.nan)
    return (root - ratio) / (root - 1)


def gini(values: np.ndarray) -> float:
    """Gini coefficient of sizes, a measure of inequality.

    It is half the mean difference of two sizes, relative to their mean: 0 if all are equal,
    (n - 1) / n if one has everything. nan if all are zero.

    >>> gini(np.array([0.0, 0.0, 0.0, 5.0]))
    0.75
    """
    size = np.sort(np.abs(np.asarray(values, np.float64)).ravel())
    n = len(size)
    total = size.sum()
    if total <= 0:
        return float("nan")
    # Summed over all pairs of the sorted sizes, the i-th counts 2 i - n - 1 times.
    return float(((2 * np.arange(1, n + 1) - n - 1) @ size) / (n * total))


def silent_units(responses: np.ndarray) -> np.ndarray:
    """Find silent units: those whose largest response is at most 1 % of its mean over units.

    >>> silent_units(np.array([[0.0, 1.0], [0.0, 2.0]])).tolist()
    [True, False]

    Args:
        responses: (stimuli, units).

    Returns:
        bool (units,).
    """
    peak = np.abs(np.asarray(responses, np.float64)).max(axis=0)
    return peak <= LIVE * peak.mean()
