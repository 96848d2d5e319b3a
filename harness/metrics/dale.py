"""Dale's law: all that a neuron sends has one sign."""

from __future__ import annotations

import numpy as np


def sign_purity(weight: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Share of a neuron's live outgoing synapses that have its commoner sign.

    1 obeys Dale's law; 0.5 is an even mixture.

    >>> sign_purity(np.array([[1.0, 2.0, -3.0]]), np.ones((1, 3), bool)).round(2).tolist()
    [0.67]

    Args:
        weight: (pre, post).
        live: bool (pre, post).

    Returns:
        float64 (pre,), nan for neurons without live synapses.
    """
    positive = (live & (weight > 0)).sum(axis=1)
    negative = (live & (weight < 0)).sum(axis=1)
    total = positive + negative
    return np.maximum(positive, negative) / np.where(total > 0, total, np.nan)


def chance_purity(weight: np.ndarray, live: np.ndarray) -> float:
    """Expected mean ``sign_purity`` if each live synapse drew its sign independently.

    Signs are drawn with the share of positive ones in the network. Few synapses are often pure by
    chance, so a purity is meaningful only beside this value. For a neuron with n live synapses and
    a share p of positive ones it is the mean of max(k, n - k) / n over k ~ Binomial(n, p).

    Args:
        weight: (pre, post).
        live: bool (pre, post).

    Returns:
        The mean over neurons with live synapses; nan without any.
    """
    from scipy.stats import binom

    sent = live.sum(axis=1)
    sizes, size_of_neuron = np.unique(sent[sent > 0], return_inverse=True)
    if not len(sizes):
        return float("nan")
    share = float((weight[live] > 0).mean())
    expected = []
    for size in sizes:
        n = int(size)

        def purity(k: np.ndarray, n: int = n) -> np.ndarray:
            return np.maximum(k, n - k) / n

        expected.append(binom.expect(purity, args=(n, share)))
    return float(np.array(expected)[size_of_neuron].mean())


def sign_flips(before: np.ndarray, after: np.ndarray) -> int:
    """Count synapses whose sign is reversed; zero has no sign.

    >>> sign_flips(np.array([1.0, -1.0, 0.0]), np.array([-1.0, -2.0, 3.0]))
    1

    Args:
        before: weights of any shape.
        after: weights of the same shape.
    """
    return int((np.sign(before) * np.sign(after) < 0).sum())
