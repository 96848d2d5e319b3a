"""Feature or task: how much of a code's geometry only the labels explain.

A code is compared with the labels after everything was taken away that one can have without them:
kernels of the pixels, of random networks, and of clusters of images. A large alignment with labels
alone says little, since random ReLU features of MNIST have it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BANDWIDTHS = (0.1, 0.3, 1.0)
"""Squared bandwidths of the Gaussian kernels, times the median squared distance."""

CLUSTERS = (10, 30, 100, 300)
"""Numbers of k-means clusters whose membership is a kernel."""

NOTHING_LEFT = 1e-9
"""A kernel of which less than this share is left is explained without labels."""


@dataclass(frozen=True)
class TaskGeometry:
    """How a code relates to labels, beyond what pixels explain.

    Attributes:
        alignment: Cosine in [-1, 1] between what is left of the code's kernel and of the labels'.
        share: Signed share of the code's kernel that only the labels explain, a semi-partial R^2.
    """

    alignment: float
    share: float


class Unlabelled:
    """The kernels that need no labels, of one set of stimuli.

    Args:
        pixels: (N, D); all stimuli are different.
        seed: Of k-means.
    """

    def __init__(self, pixels: np.ndarray, seed: int) -> None:
        pixels = np.asarray(pixels, np.float64)
        kernels = [pixels @ pixels.T, *_gaussian(pixels), _random_relu(pixels)]
        kernels += _memberships(pixels, seed)
        vectors = [upper(kernel) for kernel in kernels]
        self.basis, _ = np.linalg.qr(np.stack([_unit(vector) for vector in vectors], 1))

    def left_of(self, kernel: np.ndarray) -> tuple[np.ndarray, float]:
        """What the family does not explain of a kernel (N, N), and its share of the whole."""
        vector = upper(kernel)
        left = vector - self.basis @ (self.basis.T @ vector)
        whole = float(vector @ vector)
        return left, float(left @ left) / whole if whole > 0 else float("nan")

    def geometry(self, responses: np.ndarray, labels: np.ndarray) -> TaskGeometry:
        """Relate responses (N, units) to labels (N,).

        Rotating the responses, or scaling all of them, changes nothing; scaling single units does.
        Both numbers are nan if responses or labels are constant, and 0 if pixels explain the code.
        """
        responses = np.asarray(responses, np.float64)
        one_hot = (labels[:, None] == np.unique(labels)).astype(np.float64)
        code, code_share = self.left_of(responses @ responses.T)
        task, task_share = self.left_of(one_hot @ one_hot.T)
        if not (np.isfinite(code_share) and np.isfinite(task_share)):
            return TaskGeometry(float("nan"), float("nan"))
        if min(code_share, task_share) < NOTHING_LEFT:
            return TaskGeometry(0.0, 0.0)
        alignment = float(code @ task / np.sqrt((code @ code) * (task @ task)))
        return TaskGeometry(alignment, float(np.sign(alignment)) * alignment**2 * code_share)


def upper(kernel: np.ndarray) -> np.ndarray:
    """The pairs of an unbiasedly centred kernel (N, N), as a vector (N (N - 1) / 2,).

    U-centring (Szekely & Rizzo 2014, definition 2) leaves the diagonal out: with it, noise in many
    dimensions would be aligned with anything.
    """
    n = len(kernel)
    pairs = np.array(kernel, np.float64)
    np.fill_diagonal(pairs, 0)
    rows = pairs.sum(1)
    pairs -= (rows[:, None] + rows[None, :]) / (n - 2)
    pairs += rows.sum() / ((n - 1) * (n - 2))
    centred: np.ndarray = pairs[np.triu_indices(n, 1)]
    # Rounding of a constant kernel is no structure.
    tiny = 1e-12 * float(np.abs(kernel).max(initial=0.0))
    return np.where(np.abs(centred) > tiny, centred, 0.0)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _gaussian(pixels: np.ndarray) -> list[np.ndarray]:
    """exp(-d^2 / (2 b)) for each bandwidth b."""
    squares = (pixels**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * pixels @ pixels.T, 0)
    typical = float(np.median(distances[np.triu_indices(len(pixels), 1)])) or 1.0
    return [np.exp(-distances / (2 * factor * typical)) for factor in BANDWIDTHS]


def _random_relu(pixels: np.ndarray) -> np.ndarray:
    """The kernel of infinitely many random ReLU units (Cho & Saul 2009, eq. 6, order 1)."""
    lengths = np.linalg.norm(pixels, axis=1)
    sizes = np.outer(lengths, lengths)
    cosine = np.clip(pixels @ pixels.T / np.maximum(sizes, 1e-300), -1, 1)
    angle = np.arccos(cosine)
    kernel: np.ndarray = sizes * (np.sin(angle) + (np.pi - angle) * cosine) / np.pi
    return kernel


def _memberships(pixels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Who is in a cluster with whom, for each number of clusters that the stimuli allow."""
    from sklearn.cluster import KMeans

    kernels = []
    for count in CLUSTERS:
        if count <= len(pixels) // 2:
            labels = KMeans(count, n_init=1, random_state=seed).fit_predict(pixels)
            kernels.append((labels[:, None] == labels[None, :]).astype(np.float64))
    return kernels
