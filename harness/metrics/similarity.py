"""Similarity of two representations of the same stimuli."""

from __future__ import annotations

import numpy as np


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019).

    For centred x and y it is |y' x|^2 / (|x' x| |y' y|), with Frobenius norms. Rotating or scaling
    either does not change it.

    Args:
        x: (N, D), one stimulus a row.
        y: (N, E), in the same order.

    Returns:
        A value in [0, 1]; nan if one of the two is constant.
    """
    x_centred = _centre(x)
    y_centred = _centre(y)
    shared = _alignment(x_centred, y_centred)
    own = _alignment(x_centred, x_centred) * _alignment(y_centred, y_centred)
    return shared / np.sqrt(own) if own > 0 else float("nan")


def _centre(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)


def _alignment(x: np.ndarray, y: np.ndarray) -> float:
    """|y' x|^2, from the features (D, E) or from the stimuli (N, N), whichever is smaller."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return float(((y.T @ x) ** 2).sum())
    return float(((x @ x.T) * (y @ y.T)).sum())
