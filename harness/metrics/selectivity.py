"""Selectivity of single units: for classes (the task) or clusters of similar stimuli (features).

Responses are (stimuli N, units U), not negative. Groups are int (N,), numbered from 0.
"""

from __future__ import annotations

import numpy as np

BINS = 8
"""Bins of equal number into which a unit's responses are put."""


def group_means(responses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean response of each unit to each group.

    >>> group_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1])).tolist()
    [[2.0], [5.0]]

    Returns:
        float64 (G, U).
    """
    members = np.eye(groups.max() + 1)[groups]
    return members.T @ responses / members.sum(0)[:, None]


def class_selectivity(responses: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Selectivity index of each unit for its best class (Morcos et al. 2018).

    It is (m_best - m_rest) / (m_best + m_rest), where m_rest is the mean over the other classes: 0
    if the unit responds to all classes alike, 1 if it responds to one alone.

    >>> class_selectivity(np.array([[3.0], [1.0]]), np.array([0, 1])).tolist()
    [0.5]

    Returns:
        float64 (U,), nan for silent units.
    """
    means = np.sort(group_means(responses, classes), axis=0)
    best = means[-1]
    rest = means[:-1].mean(0)
    total = best + rest
    return (best - rest) / np.where(total > 0, total, np.nan)


def eta_squared(responses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Share of each unit's variance over stimuli that is between groups (one-way ANOVA).

    >>> eta_squared(np.array([[1.0], [1.0], [2.0], [2.0]]), np.array([0, 0, 1, 1])).tolist()
    [1.0]

    Returns:
        float64 (U,) in [0, 1], nan for units without variance.
    """
    within = responses - group_means(responses, groups)[groups]
    total = ((responses - responses.mean(0)) ** 2).sum(0)
    return 1 - (within**2).sum(0) / np.where(total > 1e-20, total, np.nan)


def mutual_information(responses: np.ndarray, groups: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bits that the response of each unit carries about the group.

    It is H(response) + H(group) - H(response, group). Responses are put in bins of equal number,
    and equal responses share a bin. All three entropies are corrected for the number of stimuli
    (Miller & Madow 1955).

    Args:
        responses: (N, U).
        groups: int (N,).
        bins: number of bins.

    Returns:
        float64 (U,), nan for units whose response never changes.
    """
    n_units = responses.shape[1]
    n_groups = groups.max() + 1
    edges = np.quantile(responses, np.arange(1, bins) / bins, axis=0)
    binned = (responses[None] > edges[:, None]).sum(0)
    # One bincount serves all units: each has cells of its own, one for each bin and group.
    cells = binned * n_groups + groups[:, None] + np.arange(n_units) * bins * n_groups
    counts = np.bincount(cells.ravel(), minlength=n_units * bins * n_groups)
    joint = counts.reshape(n_units, bins, n_groups)
    of_bins = joint.sum(2)
    of_groups = joint.sum(1)
    information = _entropy(of_bins) + _entropy(of_groups) - _entropy(joint.reshape(n_units, -1))
    changes = (of_bins > 0).sum(1) > 1
    return np.where(changes, information, np.nan)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Entropy in bits of each row of counts, with Miller and Madow's correction.

    The correction adds (occupied cells - 1) / (2 n) nats.
    """
    n = counts.sum(1)
    share = counts / n[:, None]
    plain = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(1)
    return plain + ((counts > 0).sum(1) - 1) / (2 * n * np.log(2))


def units_per_class(responses: np.ndarray, classes: np.ndarray) -> float:
    """Effective number of units that respond to a class, averaged over classes.

    For the mean responses m of the units to a class it is (sum m)^2 / sum m^2. Classes without any
    response are left out.
    """
    means = group_means(np.abs(responses), classes)
    square = (means**2).sum(1)
    effective = means.sum(1) ** 2 / np.where(square > 0, square, np.nan)
    return float(np.nanmean(effective))


def stimulus_clusters(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Cluster stimuli by their raw pixels, without labels (k-means).

    Args:
        pixels: (N, n).
        count: number of clusters.
        seed: of the initialisation.

    Returns:
        int64 (N,), the cluster of each stimulus.
    """
    from sklearn.cluster import KMeans

    clustering = KMeans(count, n_init=4, random_state=seed % 2**32).fit(pixels)
    return clustering.labels_.astype(np.int64)
