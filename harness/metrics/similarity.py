"""How alike two representations of the same stimuli are."""

from __future__ import annotations

import numpy as np


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment of (N, D) and (N, E), in [0, 1] (Kornblith et al. 2019).

    It does not change when either is rotated or scaled. nan where one of them is constant.
    """
    x, y = (np.asarray(z, np.float64) - np.mean(z, axis=0, dtype=np.float64) for z in (x, y))
    shared, own = _alignment(x, y), _alignment(x, x) * _alignment(y, y)
    return shared / np.sqrt(own) if own > 0 else float("nan")


def _alignment(x: np.ndarray, y: np.ndarray) -> float:
    """|y' x|^2, by way of the smaller matrices."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return float(((y.T @ x) ** 2).sum())
    return float(((x @ x.T) * (y @ y.T)).sum())
