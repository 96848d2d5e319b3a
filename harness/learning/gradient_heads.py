"""Few-shot heads that are trained by gradient descent on frozen embeddings, many episodes at once.

``heads`` has the heads with a closed form or a fixed solver. Gradients here are written out: each
is a sum of products, and where they are differentiated again (ANIL's outer steps), it is only once.
Rows and columns are padded to multiples of 16, so that an episode's head is the same whichever
episodes it is trained with.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.batching import ROWS
from harness.lazy import F, torch
from harness.learning.heads import Heads, class_means

NEVER = -1e9
"""Bias of a class that only pads: it cannot win."""


@dataclass(frozen=True)
class GradientDescent:
    """Full-batch gradient descent on the mean cross-entropy.

    Attributes:
        steps: Number of steps.
        lr: Learning rate.
        decay: Weight decay, added to the gradient of the weights.
    """

    steps: int
    lr: float
    decay: float = 0.0


@dataclass(frozen=True)
class _Problem:
    """A padded softmax regression.

    Attributes:
        x: Embeddings (E, R, D); the padding is zero.
        target: One-hot labels (E, R, C); the padding is zero.
        row_weight: (1, R, 1): 1 / S for support images, 0 for padding.
        class_bias: (E, 1, C): 0 for classes, ``NEVER`` for padding.
    """

    x: torch.Tensor
    target: torch.Tensor
    row_weight: torch.Tensor
    class_bias: torch.Tensor

    def error(self, logits: torch.Tensor) -> torch.Tensor:
        """Gradient of the mean cross-entropy by the logits, (p - t) / S."""
        return (logits.softmax(2) - self.target) * self.row_weight


def softmax_regression(
    support: torch.Tensor, labels: torch.Tensor, n_way: int, descent: GradientDescent
) -> Heads:
    """Softmax regression of each episode, from zero; differentiable in ``support``.

    Args:
        support: (E, S, D).
        labels: int64 (E, S) in [0, n_way).
        n_way: Number of classes.
        descent: Steps of the training.
    """
    problem = _padded(support, labels, n_way)
    x = problem.x
    weight = x.new_zeros(len(x), x.shape[2], problem.target.shape[2])
    bias = problem.class_bias
    for _ in range(descent.steps):
        error = problem.error(x @ weight + bias)
        weight = weight - descent.lr * (x.transpose(1, 2) @ error + descent.decay * weight)
        bias = bias - descent.lr * error.sum(1, keepdim=True)
    return Heads(weight[:, :, :n_way], bias[:, :, :n_way])


def cosine_classifier(
    support: torch.Tensor,
    labels: torch.Tensor,
    n_way: int,
    descent: GradientDescent,
    scale: float,
) -> Heads:
    """Softmax over ``scale`` times the cosine with a vector per class (Chen et al. 2019, 3.2).

    The vectors start at the class means of the embeddings at length one, because zero vectors have
    no direction to start from.

    Args:
        support: (E, S, D).
        labels: int64 (E, S) in [0, n_way).
        n_way: Number of classes.
        descent: Steps of the training.
        scale: Factor on the cosines.
    """
    unit = F.normalize(support, dim=2)
    problem = _padded(unit, labels, n_way)
    x = problem.x
    classes = problem.target.shape[2]
    means = class_means(unit, labels, n_way).transpose(1, 2)
    weight = F.pad(F.normalize(means, dim=1), (0, classes - n_way))
    for _ in range(descent.steps):
        direction = F.normalize(weight, dim=1)
        length = weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
        error = problem.error(scale * x @ direction + problem.class_bias)
        by_direction = scale * x.transpose(1, 2) @ error
        # Only the part of the gradient that is orthogonal to a vector turns it.
        along = direction * (by_direction * direction).sum(1, keepdim=True)
        by_weight = (by_direction - along) / length
        weight = weight - descent.lr * (by_weight + descent.decay * weight)
    direction = F.normalize(weight, dim=1)[:, :, :n_way]
    return Heads(scale * direction, direction.new_zeros(len(x), 1, n_way), "unit")


def _padded(support: torch.Tensor, labels: torch.Tensor, n_way: int) -> _Problem:
    """Pad embeddings (E, S, D) and labels (E, S) to multiples of 16 rows and classes."""
    size = support.shape[1]
    extra_rows = -size % ROWS
    classes = n_way + -n_way % ROWS
    x = F.pad(support, (0, 0, 0, extra_rows))
    target = F.pad(F.one_hot(labels, classes).to(x.dtype), (0, 0, 0, extra_rows))
    is_real = torch.arange(size + extra_rows, device=x.device) < size
    row_weight = is_real.to(x.dtype)[None, :, None] / size
    class_bias = x.new_zeros(len(x), 1, classes)
    class_bias[:, :, n_way:] = NEVER
    return _Problem(x, target, row_weight, class_bias)
