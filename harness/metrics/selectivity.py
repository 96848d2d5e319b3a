"""What single units respond to: classes (the task) or clusters of like stimuli (features).

Responses are (stimuli N, units U), not negative; groups are int (N,), numbered from 0.
"""

from __future__ import annotations

import numpy as np

BINS = 8


def group_means(responses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean response of each unit to each group, (G, U)."""
    members = np.eye(groups.max() + 1)[groups]
    return members.T @ responses / members.sum(0)[:, None]


def class_selectivity(responses: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(m_best - m_rest) / (m_best + m_rest) per unit, m_rest the mean over the other classes (Morcos et al. 2018).

    0: all classes alike; 1: one class alone. nan for silent units.
    """
    means = np.sort(group_means(responses, classes), axis=0)
    best, rest = means[-1], means[:-1].mean(0)
    total = best + rest
    return (best - rest) / np.where(total > 0, total, np.nan)


def eta_squared(responses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Share of each unit's variance over stimuli that lies between groups (one-way ANOVA), in [0, 1]. nan: no variance."""
    within = responses - group_means(responses, groups)[groups]
    total = ((responses - responses.mean(0)) ** 2).sum(0)
    return 1 - (within**2).sum(0) / np.where(total > 1e-20, total, np.nan)


def mutual_information(responses: np.ndarray, groups: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bits that each unit's response gives of the group, (U,).

    Responses are put in ``bins`` bins of equal number (equal responses share a bin); the three entropies are corrected
    by Miller & Madow (1955). nan for units that always respond alike.
    """
    n, units = responses.shape
    edges = np.quantile(responses, np.arange(1, bins) / bins, axis=0)
    binned = (responses[None] > edges[:, None]).sum(0)
    wide = groups.max() + 1
    joint = np.zeros((units, bins * wide))
    cells = binned * wide + groups[:, None] + np.arange(units) * bins * wide
    joint = np.bincount(cells.ravel(), minlength=units * bins * wide).reshape(units, bins, wide)
    alone = joint.sum(2)
    information = _entropy(alone) + _entropy(joint.sum(1)) - _entropy(joint.reshape(units, -1))
    return np.where((alone > 0).sum(1) > 1, information, np.nan)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Bits, of each row of counts."""
    n = counts.sum(1)
    share = counts / n[:, None]
    plain = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(1)
    return plain + ((counts > 0).sum(1) - 1) / (2 * n * np.log(2))


def units_per_class(responses: np.ndarray, classes: np.ndarray) -> float:
    """Effective number of units that respond to a class: (sum m)^2 / sum m^2 of its mean responses, mean over classes."""
    means = group_means(np.abs(responses), classes)
    square = (means**2).sum(1)
    return float(np.nanmean(means.sum(1) ** 2 / np.where(square > 0, square, np.nan)))


def stimulus_clusters(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Groups of like stimuli, int (N,): k-means of the raw pixels (N, n), without labels."""
    from sklearn.cluster import KMeans

    return KMeans(count, n_init=4, random_state=seed % 2**32).fit(pixels).labels_.astype(np.int64)
