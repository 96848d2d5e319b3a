"""How much a code says of its stimuli, and how much of that each synapse carries."""

from __future__ import annotations

import numpy as np

LEVELS = 16


def information(responses: np.ndarray, levels: int = LEVELS) -> float:
    """Bits that a layer's response carries: the sum over units of the entropy of the response in ``levels`` equal steps.

    Steps run from 0 to each unit's largest response. For a deterministic code I(X; Z) = H(Z), and the sum of the units'
    entropies is an upper bound of it (reached where units are independent). The estimator is this project's: that of
    arXiv 2603.00588 is not known to it.

    Args:
        responses: (stimuli, units), not negative.
    """
    peak = np.abs(responses).max(axis=0)
    steps = np.minimum(
        np.abs(responses) / np.where(peak > 0, peak, 1.0) * levels, levels - 1
    ).astype(np.int64)
    units = responses.shape[1]
    counts = np.bincount(
        (steps + np.arange(units) * levels).ravel(), minlength=units * levels
    ).reshape(units, levels)
    share = counts / len(responses)
    return float(-(share * np.log2(np.where(share > 0, share, 1.0))).sum())


def capacity(bits: float, live: int) -> float:
    """Bits a live synapse; nan where none lives."""
    return bits / live if live else float("nan")
