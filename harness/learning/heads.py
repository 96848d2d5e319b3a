"""Few-shot heads: which linear classifier fits the embeddings of a support set?

Every head is linear in the (possibly normalised) embedding, so one pair of tensors holds the heads
of E episodes. Nothing is random, and each episode is computed as if it were alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from harness.batching import ROWS
from harness.lazy import F, nn, torch

HeadName = Literal["nearest-mean", "cosine", "ridge", "log-ridge", "logistic"]

View = Literal["identity", "unit", "log"]
"""What a head reads: the embedding, the embedding at length one, or its logarithm (if >= 0)."""

FLOOR = 1e-30
"""Added before the logarithm; a response that float32 rounds to 0 then passes on no gradient."""

VIEWS: dict[HeadName, View] = {
    "nearest-mean": "identity",
    "cosine": "unit",
    "ridge": "identity",
    "log-ridge": "log",
    "logistic": "unit",
}

SHARPNESS = 8.0
"""Logit difference of two class means at the typical distance; gradients then do not vanish."""

RIDGE = 0.03
"""Penalty of the ridge head, as a share of the summed squared norms of centred embeddings."""

LOGISTIC = 1e-2
"""Penalty c of the logistic head: c / 2 * sum w^2 is added to the mean cross-entropy."""

STEPS = 200
"""Steps of the logistic head; more change no logit by 1e-4 (tests/baselines/test_heads.py)."""


@dataclass(frozen=True)
class Heads:
    """Linear classifiers of E episodes.

    Attributes:
        weight: (E, D, n_way).
        bias: (E, 1, n_way).
        view: What they read of an embedding.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    view: View = "identity"

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to logits (E, Q, n_way)."""
        queries = embeddings.shape[1]
        n_way = self.bias.shape[2]
        x = viewed(embeddings, self.view)
        drive = padded(x, 1) @ padded(self.weight, 2)
        return drive[:, :queries, :n_way] + self.bias

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier on top of ``body``, as a module in eval mode."""
        from harness.learning.nets import LinearHead

        return LinearHead(body, self.weight[0], self.bias[0], partial(viewed, view=self.view))


def fit(head: HeadName, support: torch.Tensor, labels: torch.Tensor, n_way: int) -> Heads:
    """Fit the head of each episode.

    - ``nearest-mean``: minus the squared Euclidean distance to each class mean (Snell et al.
      2017), divided by the mean squared distance between class means. The term that all classes
      share is left out.
    - ``cosine``: the same on embeddings of length one.
    - ``ridge``: ridge regression to one-hot labels (Bertinetto et al. 2019), solved in the S x S
      dual.
    - ``log-ridge``: the same on the logarithm of the embedding, for soft winner-take-all codes:
      log softmax(z) is z again, minus a term that all units share.
    - ``logistic``: multinomial logistic regression on embeddings of length one (Tian et al. 2020,
      arXiv 2003.11539), by a fixed number of accelerated gradient steps.

    Args:
        head: Which head.
        support: (E, S, D).
        labels: int64 (E, S) in [0, n_way); every class has at least one image.
        n_way: Number of classes.
    """
    with torch.no_grad():
        view = VIEWS[head]
        x = viewed(support, view)
        if head in ("ridge", "log-ridge"):
            return _ridge(x, labels, n_way, view)
        if head == "logistic":
            return _logistic(x, labels, n_way, view)
        return from_means(class_means(x, labels, n_way), view)


def class_means(embeddings: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
    """Mean embedding of each class: (E, S, D), (E, S) to (E, n_way, D)."""
    members = F.one_hot(labels, n_way).to(embeddings.dtype).transpose(1, 2)
    sums = padded(padded(members, 1), 2) @ padded(embeddings, 1)
    counts = members.sum(2, keepdim=True).clamp_min(1)
    return sums[:, :n_way] / counts


def from_means(means: torch.Tensor, view: View = "identity") -> Heads:
    """Nearest-mean heads from class means (E, n_way, D)."""
    if view == "unit":
        means = viewed(means, "unit")
    n_way = means.shape[1]
    centred = means - means.mean(1, keepdim=True)
    # The mean over pairs of |m_a - m_b|^2 is 2 n / (n - 1) times the mean of |m_a - m|^2.
    typical = 2 * n_way / max(n_way - 1, 1) * centred.square().sum(2).mean(1)
    scale = (SHARPNESS / typical.clamp_min(1e-12))[:, None, None]
    # -s |x - m|^2 = 2 s x . m - s |m|^2 - s |x|^2, and all classes share the last term.
    weight = 2 * scale * means.transpose(1, 2)
    bias = -scale * means.square().sum(2)[:, None, :]
    return Heads(weight, bias, view)


def _ridge(support: torch.Tensor, labels: torch.Tensor, n_way: int, view: View) -> Heads:
    """Ridge regression: w = X^T (X X^T + p I)^-1 Y, X and Y centred."""
    centre = support.mean(1, keepdim=True)
    targets = F.one_hot(labels, n_way).to(support.dtype)
    offset = targets.mean(1, keepdim=True)
    # The added rows and columns of zeros have a solution of zero and change nothing.
    x = padded(support - centre, 1)
    y = padded(padded(targets - offset, 1), 2)
    gram = x @ x.transpose(1, 2)
    penalty = RIDGE * gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    dual = torch.linalg.solve(gram + penalty[:, None, None] * eye, y)
    weight = SHARPNESS * (x.transpose(1, 2) @ dual)[:, :, :n_way]
    bias = SHARPNESS * offset - (centre * weight.transpose(1, 2)).sum(2)[:, None, :]
    return Heads(weight, bias, view)


def _logistic(support: torch.Tensor, labels: torch.Tensor, n_way: int, view: View) -> Heads:
    """Logistic regression by Nesterov's method for strongly convex functions.

    The method is scheme 2.2.22 of Nesterov, "Introductory Lectures on Convex Optimization", 2004.
    Weights that start at zero stay sums of support embeddings, so only the share of each image in
    each class is kept, (E, S, n_way). A step then costs S * S instead of S * D. The bias is the
    weight of a constant input of one and is penalised like the others.
    """
    shots = labels.shape[1]
    targets = F.one_hot(labels, n_way).to(support.dtype)
    x = padded(support, 1)
    y = padded(padded(targets, 1), 2)
    is_image = _is_real(y, shots, 1)
    is_class = _is_real(y, n_way, 2)
    gram = (x @ x.transpose(1, 2) + 1) * is_image * is_image.transpose(1, 2)
    # The curvature of the loss is at most half the largest eigenvalue of the Gram matrix over S
    # (Boehning 1992), which is at most |x|^2 + 1 = 2.
    step = 1 / (0.5 * 2 + LOGISTIC)
    momentum = (1 - (step * LOGISTIC) ** 0.5) / (1 + (step * LOGISTIC) ** 0.5)
    share = torch.zeros_like(y)
    ahead = share
    for _ in range(STEPS):
        logits = (gram @ ahead).masked_fill(is_class == 0, float("-inf"))
        gradient = (logits.softmax(2) - y) * is_image / shots + LOGISTIC * ahead
        before = share
        share = ahead - step * gradient
        ahead = share + momentum * (share - before)
    weight = (x.transpose(1, 2) @ share)[:, :, :n_way]
    bias = share.sum(1, keepdim=True)[:, :, :n_way]
    return Heads(weight, bias, view)


def _is_real(padded_like: torch.Tensor, count: int, axis: Literal[1, 2]) -> torch.Tensor:
    """One for the first ``count`` places along an axis, zero for the padding; broadcastable."""
    shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
    places = torch.arange(padded_like.shape[axis], device=padded_like.device)
    return (places < count).to(padded_like.dtype).reshape(shape)


def viewed(embeddings: torch.Tensor, view: View) -> torch.Tensor:
    """What a head reads of embeddings (..., D)."""
    if view == "log":
        return (embeddings + FLOOR).log()
    if view == "unit":
        return F.normalize(embeddings, dim=-1)
    return embeddings


def padded(matrices: torch.Tensor, axis: Literal[1, 2]) -> torch.Tensor:
    """Add zeros along an axis until its size is a multiple of 16.

    For small matrices of other sizes, the kernel of a batched product depends on the number of
    matrices. With this padding, an episode's logits are the same whichever episodes it is computed
    with.
    """
    missing = -matrices.shape[axis] % ROWS
    if not missing:
        return matrices
    return F.pad(matrices, (0, missing) if axis == 2 else (0, 0, 0, missing))
