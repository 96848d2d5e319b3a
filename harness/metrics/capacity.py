"""Information that a code carries about its stimuli, and the share of each synapse in it."""

from __future__ import annotations

import numpy as np

LEVELS = 16
"""Steps into which a response is divided."""


def information(responses: np.ndarray, levels: int = LEVELS) -> float:
    """Bits that the responses of a layer carry.

    They are the sum over units of the entropy of the response in ``levels`` equal steps from 0 to
    the unit's largest response. For a deterministic code I(X; Z) = H(Z), and the sum of the units'
    entropies is an upper bound of it, reached if units are independent. The estimator is this
    project's own; it may differ from that of arXiv 2603.00588.

    >>> information(np.array([[0.0], [1.0]]))
    1.0

    Args:
        responses: (stimuli, units), not negative.
        levels: number of steps.
    """
    n_stimuli, n_units = responses.shape
    size = np.abs(responses)
    peak = size.max(axis=0)
    scaled = size / np.where(peak > 0, peak, 1.0) * levels
    steps = np.minimum(scaled, levels - 1).astype(np.int64)
    # Each unit counts in bins of its own, so that one bincount serves all units.
    bins = steps + np.arange(n_units) * levels
    counts = np.bincount(bins.ravel(), minlength=n_units * levels).reshape(n_units, levels)
    share = counts / n_stimuli
    return float(-(share * np.log2(np.where(share > 0, share, 1.0))).sum())


def capacity(bits: float, live: int) -> float:
    """Bits per live synapse; nan if none is live.

    >>> capacity(6.0, 4)
    1.5

    Args:
        bits: information of a layer.
        live: its live synapses.
    """
    return bits / live if live else float("nan")
