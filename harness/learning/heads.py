"""Few-shot heads: from the embeddings of a support set to a linear classifier, over many episodes at once.

Every head is linear in the (possibly normalised) embedding, so one pair of tensors holds the heads of E episodes.
Nothing is drawn at random and each episode is computed as if it were alone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Literal

from harness.batching import ROWS, in_batches
from harness.lazy import F, nn, torch
from harness.learning.fitting import TensorLearner
from harness.learning.learner import EpisodeClassifier

HeadName = Literal["nearest-mean", "cosine", "ridge", "log-ridge", "logistic"]

View = Literal["as it is", "unit", "log"]
"""What a head sees of an embedding: itself, scaled to length one, or its logarithm (of responses that are not negative)."""

FLOOR = 1e-30
"""Added before the logarithm; a response that float32 has rounded to 0 then passes no gradient on."""

VIEWS: dict[HeadName, View] = {
    "nearest-mean": "as it is",
    "cosine": "unit",
    "ridge": "as it is",
    "log-ridge": "log",
    "logistic": "unit",
}

SHARPNESS = 8.0
"""Logit difference between two class means at the typical distance: soft enough that gradients do not vanish."""

RIDGE = 0.03
"""Penalty of the ridge head, as a share of the summed squared norms of the centred support embeddings."""


LOGISTIC = 1e-2
"""Penalty of the logistic head: half of it times the squared weights is added to the mean cross-entropy."""

STEPS = 200
"""Steps of the logistic head; by then a step changes no logit by 1e-4 (tests/baselines/test_heads.py)."""


@dataclass(frozen=True)
class Heads:
    """Linear classifiers of E episodes.

    Attributes:
        weight: (E, D, n_way).
        bias: (E, 1, n_way).
        view: what they see of an embedding.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    view: View = "as it is"

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to logits (E, Q, n_way)."""
        x, (queries, n_way) = (
            viewed(embeddings, self.view),
            (embeddings.shape[1], self.bias.shape[2]),
        )
        return (_even(x, 1) @ _even(self.weight, 2))[:, :queries, :n_way] + self.bias

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier behind ``body``, as a module in eval mode."""
        from harness.learning.nets import HeadOn

        return HeadOn(body, self.weight[0], self.bias[0], partial(viewed, view=self.view))


def fit(head: HeadName, support: torch.Tensor, labels: torch.Tensor, n_way: int) -> Heads:
    """Fit the head of each episode in closed form.

    - ``nearest-mean``: minus the squared Euclidean distance to each class mean (Snell et al. 2017), without the term
      that all classes share, divided by the mean squared distance between class means.
    - ``cosine``: the same on embeddings of length one.
    - ``ridge``: ridge regression to one-hot labels (Bertinetto et al. 2019), solved in the S x S dual.
    - ``log-ridge``: the same on the logarithm of the embedding, for soft winner-take-all codes: log softmax(z) is z again,
      less what all units share.
    - ``logistic``: multinomial logistic regression on embeddings of length one (Tian et al. 2020, arXiv 2003.11539), by a
      fixed number of accelerated gradient steps instead of a closed form.

    Args:
        support: (E, S, D).
        labels: int64 (E, S) in [0, n_way); every class has at least one image.
    """
    with torch.no_grad():
        view = VIEWS[head]
        support = viewed(support, view)
        if head in ("ridge", "log-ridge"):
            return _ridge(support, labels, n_way, view)
        if head == "logistic":
            return _logistic(support, labels, n_way, view)
        return from_means(class_means(support, labels, n_way), view)


def class_means(embeddings: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
    """Mean embedding of each class: (E, S, D), (E, S) to (E, n_way, D)."""
    members = F.one_hot(labels, n_way).to(embeddings.dtype).transpose(1, 2)
    sums = (_even(_even(members, 1), 2) @ _even(embeddings, 1))[:, :n_way]
    return sums / members.sum(2, keepdim=True).clamp_min(1)


def from_means(means: torch.Tensor, view: View = "as it is") -> Heads:
    """Nearest-mean heads from class means (E, n_way, D)."""
    means = viewed(means, "unit") if view == "unit" else means
    centred = means - means.mean(1, keepdim=True)
    # mean over pairs of |m_a - m_b|^2 is 2 n / (n - 1) times the mean of |m_a - m|^2
    n_way = means.shape[1]
    typical = 2 * n_way / max(n_way - 1, 1) * centred.square().sum(2).mean(1)
    scale = (SHARPNESS / typical.clamp_min(1e-12))[:, None, None]
    return Heads(
        2 * scale * means.transpose(1, 2), -scale * means.square().sum(2)[:, None, :], view
    )


def _ridge(support: torch.Tensor, labels: torch.Tensor, n_way: int, view: View) -> Heads:
    centre = support.mean(1, keepdim=True)
    targets = F.one_hot(labels, n_way).to(support.dtype)
    offset = targets.mean(1, keepdim=True)
    # Rows and columns of zeros change nothing: their solution is zero.
    x, y = _even(support - centre, 1), _even(_even(targets - offset, 1), 2)
    gram = x @ x.transpose(1, 2)
    penalty = RIDGE * gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = (
        SHARPNESS
        * (x.transpose(1, 2) @ torch.linalg.solve(gram + penalty[:, None, None] * eye, y))[
            :, :, :n_way
        ]
    )
    return Heads(
        weight, SHARPNESS * offset - (centre * weight.transpose(1, 2)).sum(2)[:, None, :], view
    )


def _logistic(support: torch.Tensor, labels: torch.Tensor, n_way: int, view: View) -> Heads:
    """Nesterov's method for strongly convex functions (Introductory Lectures on Convex Optimization, 2004, 2.2.22).

    Weights of zero stay sums of support embeddings whatever the gradient, so that only the share of each in each class is
    kept, (E, S, n_way), and a step costs S * S rather than S * D. The bias is the weight of a number that is always one, and
    is penalised as they are.
    """
    x, y = _even(support, 1), _even(_even(F.one_hot(labels, n_way).to(support.dtype), 1), 2)
    images, classes = _places(y, labels.shape[1], 1), _places(y, n_way, 2)
    gram = (x @ x.transpose(1, 2) + 1) * images * images.transpose(1, 2)
    # The loss bends by at most half the largest eigenvalue of the Gram matrix over S (Boehning 1992): at most |x|^2 + 1 = 2.
    step = 1 / (0.5 * 2 + LOGISTIC)
    momentum = (1 - (step * LOGISTIC) ** 0.5) / (1 + (step * LOGISTIC) ** 0.5)
    share = ahead = torch.zeros_like(y)
    for _ in range(STEPS):
        logits = (gram @ ahead).masked_fill(classes == 0, float("-inf"))
        gradient = (logits.softmax(2) - y) * images / labels.shape[1] + LOGISTIC * ahead
        before, share = share, ahead - step * gradient
        ahead = share + momentum * (share - before)
    return Heads(
        (x.transpose(1, 2) @ share)[:, :, :n_way], share.sum(1, keepdim=True)[:, :, :n_way], view
    )


def _places(like: torch.Tensor, count: int, axis: Literal[1, 2]) -> torch.Tensor:
    """One at the first ``count`` places along an axis, zero at those that only fill up."""
    shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
    return (
        (torch.arange(like.shape[axis], device=like.device) < count).to(like.dtype).reshape(shape)
    )


def viewed(embeddings: torch.Tensor, view: View) -> torch.Tensor:
    """What a head sees of embeddings (..., D)."""
    if view == "log":
        return (embeddings + FLOOR).log()
    return F.normalize(embeddings, dim=-1) if view == "unit" else embeddings


def _even(matrices: torch.Tensor, axis: Literal[1, 2]) -> torch.Tensor:
    """Zeros added along an axis until it is a multiple of 16.

    The kernel that a batched product of small, odd matrices runs on depends on how many there are; for these it does
    not, so that an episode's logits are the same whichever episodes it is computed with.
    """
    missing = -matrices.shape[axis] % ROWS
    return (
        F.pad(matrices, (0, missing) if axis == 2 else (0, 0, 0, missing)) if missing else matrices
    )


class FeatureLearner(TensorLearner):
    """A learner whose few-shot classifier is a head on a frozen embedding.

    A subclass gives ``body()`` and has ``head`` in its config, or fits a head of its own.
    """

    @property
    def frozen_features(self) -> bool:
        """Always: ``adapt`` reads images through ``embed`` alone."""
        return True

    @abstractmethod
    def body(self) -> nn.Module:
        """Images (B, C, H, W) to embeddings (B, D), as a frozen module in eval mode."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D)."""
        return self._still_body()(images)

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """The heads of E episodes from embeddings (E, S, D); a subclass may have one of its own."""
        return fit(self.config.head, support, support_labels, n_way)

    def _still_body(self) -> nn.Module:
        """The body in eval mode, even where a subclass forgot it: a drawn dropout mask is no embedding."""
        return self.body().eval()

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """The head on the support set's embeddings, behind the body."""
        body = self._still_body()
        with torch.no_grad():
            support = in_batches(body, support_images, batch_size=256)
        return self.fit_head(support[None], support_labels[None], n_way).on(body)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes: every image is embedded once, then all heads are fitted together."""
        body = self._still_body()

        def embedded(images: torch.Tensor) -> torch.Tensor:
            return in_batches(body, images.flatten(0, 1), batch_size=256).unflatten(
                0, images.shape[:2]
            )

        with torch.no_grad():
            support = embedded(support_images)
        heads = self.fit_head(support, support_labels, n_way)
        return lambda queries: heads(embedded(queries))

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """The heads of E episodes from embeddings (E, S, D)."""
        return self.fit_head(support, support_labels, n_way)
