"""Few-shot heads trained by gradient descent on frozen embeddings, over many episodes at once.

Gradients are written out: they are sums of three products, and those that are differentiated further (ANIL's outer
steps) are then differentiated once. Rows and columns are filled up to multiples of 16, so that an episode's head is the
same whichever episodes it is trained with.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.batching import ROWS
from harness.lazy import F, torch
from harness.learning import heads
from harness.learning.heads import Heads

NEVER = -1e9
"""Logit of a class that is there only to fill up."""


@dataclass(frozen=True)
class Descent:
    """Full-batch gradient descent on the mean cross-entropy.

    Attributes:
        steps, lr: how many steps, of which rate.
        decay: weight decay, added to the gradient of the weights.
    """

    steps: int
    lr: float
    decay: float = 0.0


def linear(support: torch.Tensor, labels: torch.Tensor, n_way: int, descent: Descent) -> Heads:
    """Softmax regression of each episode, from zero; differentiable in ``support``.

    Args:
        support: (E, S, D).
        labels: int64 (E, S) in [0, n_way).
    """
    x, target, real, never = _filled(support, labels, n_way)
    weight, bias = x.new_zeros(len(x), x.shape[2], target.shape[2]), never
    for _ in range(descent.steps):
        error = ((x @ weight + bias).softmax(2) - target) * real
        weight = weight - descent.lr * (x.transpose(1, 2) @ error + descent.decay * weight)
        bias = bias - descent.lr * error.sum(1, keepdim=True)
    return Heads(weight[:, :, :n_way], bias[:, :, :n_way])


def cosine(
    support: torch.Tensor, labels: torch.Tensor, n_way: int, descent: Descent, scale: float
) -> Heads:
    """Softmax over ``scale`` times the cosine with a vector for each class (Chen et al. 2019, section 3.2).

    The vectors start at the class means of the embeddings of length one: the loss has no stationary start.

    Args:
        support: (E, S, D).
        labels: int64 (E, S) in [0, n_way).
    """
    unit = F.normalize(support, dim=2)
    x, target, real, never = _filled(unit, labels, n_way)
    means = heads.class_means(unit, labels, n_way).transpose(1, 2)
    weight = F.pad(F.normalize(means, dim=1), (0, target.shape[2] - n_way))
    for _ in range(descent.steps):
        direction, length = (
            F.normalize(weight, dim=1),
            weight.norm(dim=1, keepdim=True).clamp_min(1e-12),
        )
        error = ((scale * x @ direction + never).softmax(2) - target) * real
        push = (
            scale * x.transpose(1, 2) @ error
        )  # by the direction; of it, what turns the vector moves it
        turn = (push - direction * (push * direction).sum(1, keepdim=True)) / length
        weight = weight - descent.lr * (turn + descent.decay * weight)
    direction = F.normalize(weight, dim=1)[:, :, :n_way]
    return Heads(scale * direction, direction.new_zeros(len(x), 1, n_way), "unit")


def _filled(support: torch.Tensor, labels: torch.Tensor, n_way: int) -> tuple[torch.Tensor, ...]:
    """Embeddings, one-hot targets, 1 / S for rows that are real and 0 for others, 0 for classes that are and NEVER for others."""
    size = support.shape[1]
    rows, columns = -size % ROWS, n_way + -n_way % ROWS
    x = F.pad(support, (0, 0, 0, rows))
    target = F.pad(F.one_hot(labels, columns).to(x.dtype), (0, 0, 0, rows))
    real = (torch.arange(size + rows, device=x.device) < size).to(x.dtype)[None, :, None] / size
    never = x.new_zeros(len(x), 1, columns)
    never[:, :, n_way:] = NEVER
    return x, target, real, never
