"""Running class statistics of features: read-outs that go on learning and forget nothing.

Sums, in double precision, do not depend on the order of the images, so neither do the read-outs.
"""

from __future__ import annotations

from typing import Literal

from harness.lazy import F, torch
from harness.learning.going_on import UNKNOWN, heads_of_known
from harness.learning.heads import Heads, View, viewed

RunningReadout = Literal["slda", "nearest-mean", "cosine"]

VIEWS: dict[RunningReadout, View] = {
    "slda": "identity",
    "nearest-mean": "identity",
    "cosine": "unit",
}

Sums = dict[str, "torch.Tensor"]
"""``count`` (C,) and ``total`` (C, D) of each class, and for ``slda`` the ``moment`` (D, D)."""


def no_sums(classes: int, width: int, kind: RunningReadout) -> Sums:
    """Sums before the first image, for classes C and features of D values."""
    sums = {
        "count": torch.zeros(classes, dtype=torch.int64),
        "total": torch.zeros(classes, width, dtype=torch.float64),
    }
    if kind == "slda":
        sums["moment"] = torch.zeros(width, width, dtype=torch.float64)
    return sums


def add_images(
    sums: Sums, features: torch.Tensor, labels: torch.Tensor, kind: RunningReadout
) -> Sums:
    """The sums with more images.

    Args:
        sums: The sums so far.
        features: (N, D).
        labels: int64 (N,).
        kind: The read-out that they are for.
    """
    x = viewed(features, VIEWS[kind]).double()
    members = F.one_hot(labels, len(sums["count"]))
    new = {
        "count": sums["count"] + members.sum(0),
        "total": sums["total"] + members.double().T @ x,
    }
    if kind == "slda":
        new["moment"] = sums["moment"] + x.T @ x
    return new


def read_out(sums: Sums, kind: RunningReadout, shrinkage: float) -> Heads:
    """The read-out of the classes that have images; the others are never predicted.

    - ``nearest-mean``: minus the scaled squared distance to each class mean.
    - ``cosine``: the same on features of length one.
    - ``slda``: linear discriminant analysis with one covariance for all classes, shrunk: see
      ``discriminants``.

    Args:
        sums: The sums.
        kind: Which read-out.
        shrinkage: The e of ``slda``.

    Returns:
        A single head: its weight is (1, D, C).
    """
    count = sums["count"]
    means = sums["total"] / count.clamp_min(1)[:, None]
    if kind != "slda":
        return heads_of_known(means.float(), count, VIEWS[kind])
    is_known = count > 0
    weight = torch.zeros_like(means.T)
    bias = torch.full_like(means[:, 0], UNKNOWN)
    bias[is_known] = 0
    if is_known.sum() > 1:
        n = int(count.sum())
        within = sums["moment"] - sums["total"].T @ means  # minus sum_c n_c m_c m_c^T
        known = discriminants(means[is_known], within / n, shrinkage)
        weight[:, is_known], bias[is_known] = known
    return Heads(weight.float()[None], bias.float()[None, None])


def discriminants(
    means: torch.Tensor, covariance: torch.Tensor, shrinkage: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear discriminant analysis of classes that share a covariance S.

        P = ((1 - e) S + e I)^-1,  logit of class c = x P m_c - m_c P m_c / 2

    This is streaming LDA (Hayes & Kanan, "Lifelong machine learning with deep streaming linear
    discriminant analysis", CVPR workshops 2020, eqs. 1 - 3), but for S: theirs is an estimate that
    follows the running means and thus depends on the order of the images.

    Args:
        means: m, float64 (C, D).
        covariance: S, (D, D).
        shrinkage: e.

    Returns:
        Weights (D, C) and biases (C,).
    """
    shrunk = (1 - shrinkage) * covariance
    shrunk.diagonal().add_(shrinkage)
    weight = torch.linalg.solve(shrunk, means.T)
    return weight, -(means.T * weight).sum(0) / 2
