"""Dale's law: whether all that a neuron sends has one sign."""

from __future__ import annotations

import numpy as np


def sign_purity(weight: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Share of a neuron's live outgoing synapses that have its commoner sign: 1 obeys Dale's law, 0.5 has no sign.

    Args:
        weight, live: (pre, post).

    Returns:
        (pre,), nan for neurons that send nothing.
    """
    positive, negative = (live & (weight > 0)).sum(axis=1), (live & (weight < 0)).sum(axis=1)
    total = positive + negative
    return np.maximum(positive, negative) / np.where(total > 0, total, np.nan)


def chance_purity(weight: np.ndarray, live: np.ndarray) -> float:
    """Mean ``sign_purity`` if every live synapse drew its sign alone, with the share of signs that there is.

    Few synapses are pure by chance, so a purity means something only beside this.
    """
    from scipy.stats import binom

    sent = live.sum(axis=1)
    sizes, inverse = np.unique(sent[sent > 0], return_inverse=True)
    if not len(sizes):
        return float("nan")
    share = float((weight[live] > 0).mean())
    expected = [
        binom.expect(lambda k, n=n: np.maximum(k, n - k) / n, args=(int(n), share)) for n in sizes
    ]
    return float(np.array(expected)[inverse].mean())


def sign_flips(before: np.ndarray, after: np.ndarray) -> int:
    """Synapses whose sign is the opposite of what it was; zero has none."""
    return int((np.sign(before) * np.sign(after) < 0).sum())
