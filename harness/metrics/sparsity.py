"""How few carry how much: of synapses, and of responses."""

from __future__ import annotations

import numpy as np

LIVE = 0.01
"""A synapse lives if its weight is above this share of the mean of those that exist."""


def live_synapses(weight: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """bool, shaped as ``weight``: synapses that exist and whose abs(w) is above 1 % of the mean of those that exist.

    One rule for all: a learner whose mask is "not exactly zero" would else count specks that another learner's would not.
    """
    size = np.abs(weight)
    exists = np.ones(weight.shape, bool) if mask is None else np.asarray(mask, bool)
    return exists & (size > LIVE * size[exists].mean()) if exists.any() else exists


def treves_rolls(responses: np.ndarray, axis: int) -> np.ndarray:
    """Sparseness (1 - a) / (1 - 1/n), a = mean(r)^2 / mean(r^2), of abs(r): 0 all alike, 1 a single response.

    Treves & Rolls (1991), scaled as in Vinje & Gallant (2000).

    Args:
        responses: (stimuli, units).
        axis: 0 for each unit over its life (over stimuli), 1 for each stimulus over the population.

    Returns:
        one value a unit or a stimulus; nan where there was no response at all.
    """
    rates = np.abs(np.asarray(responses, np.float64))
    n = rates.shape[axis]
    square = (rates**2).mean(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (1 - rates.mean(axis) ** 2 / np.where(square > 0, square, np.nan)) / (1 - 1 / n)


def hoyer(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sparseness (sqrt n - l1 / l2) / (sqrt n - 1): 0 all alike, 1 a single value (Hoyer 2004). nan where all are zero."""
    size = np.abs(np.asarray(values, np.float64))
    root, length = np.sqrt(size.shape[axis]), np.sqrt((size**2).sum(axis))
    return (root - size.sum(axis) / np.where(length > 0, length, np.nan)) / (root - 1)


def gini(values: np.ndarray) -> float:
    """Inequality of abs(values): 0 all alike, (n - 1) / n one has all. nan where all are zero."""
    size = np.sort(np.abs(np.asarray(values, np.float64)).ravel())
    n, total = len(size), size.sum()
    return (
        float(((2 * np.arange(1, n + 1) - n - 1) @ size) / (n * total))
        if total > 0
        else float("nan")
    )


def silent_units(responses: np.ndarray) -> np.ndarray:
    """Bool (units,): units whose largest response stays below 1 % of the mean over units of that."""
    peak = np.abs(np.asarray(responses, np.float64)).max(axis=0)
    return peak <= LIVE * peak.mean()
