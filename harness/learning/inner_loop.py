"""How does a network adapt to an episode: a new output layer and a few gradient steps.

This file defines ``nn.Module`` classes, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from harness.batching import ROWS
from harness.learning.bodies import Dense, embedding_width
from harness.learning.gradient_heads import NEVER
from harness.learning.nets import perceptron


class AdaptableNetwork(nn.Module):
    """A body with an output layer that only ``add_outputs`` creates.

    Its parameters are therefore those of the body alone, until it is adapted.

    Args:
        body: Images to embeddings (B, D).
        image_shape: (C, H, W).
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, body: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.body = body
        self.width = embedding_width(body, image_shape)
        # Registered before they exist, so that they come first in ``parameters()``.
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to logits (B, n_way)."""
        return self.body(images) @ self.weight + self.bias


def add_outputs(network: AdaptableNetwork, n_way: int) -> None:
    """Give a clone of a network ``n_way`` outputs whose weights start at zero.

    Any other start that all classes share would be equivalent: it shifts their logits together,
    which the softmax does not see. Neither a step nor the meta-gradient depends on it, so there is
    nothing to learn in it.
    """
    like = next(network.body.parameters())
    network.weight = nn.Parameter(like.new_zeros(network.width, n_way))
    network.bias = nn.Parameter(like.new_zeros(1, n_way))


def adapt_dense(
    network: AdaptableNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    n_way: int,
    *,
    steps: int,
    rates: Sequence[torch.Tensor | float],
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Adapt E perceptrons together, all from ``network``, as learn2learn does one by one.

    Support images are padded to multiples of 16 with rows that have no target, and classes with
    ones that cannot win. Neither has a gradient, so an episode's logits do not depend on the other
    episodes.

    Args:
        network: Its body is a ``Dense``.
        images: (E, S, C, H, W).
        labels: int64 (E, S) in [0, n_way).
        n_way: Number of classes.
        steps: Gradient steps.
        rates: Step sizes of the output weight and bias, then of the body's parameters; numbers, or
            tensors that broadcast.

    Returns:
        (E, Q, C, H, W) to logits (E, Q, n_way).
    """
    size = images.shape[1]
    classes = n_way + -n_way % ROWS
    x = _pad_rows(images.flatten(2))
    targets = _pad_rows(F.one_hot(labels, classes).to(x.dtype))
    weight = x.new_zeros(network.width, classes)
    bias = x.new_zeros(1, classes)
    bias[:, n_way:] = NEVER
    body = cast(Dense, network.body)
    initial = [*body.layers, weight, bias]
    parameters = [p.detach().expand(len(x), *p.shape).clone() for p in initial]
    output_last = [*rates[2:], *rates[:2]]
    for _ in range(steps):
        with torch.enable_grad():
            leaves = [p.requires_grad_() for p in parameters]
            log_p = F.log_softmax(perceptron(x, leaves), 2)
            loss = -(targets * log_p).sum() / size
            gradients = torch.autograd.grad(loss, leaves)
        parameters = [
            p.detach() - rate * g
            for p, g, rate in zip(parameters, gradients, output_last, strict=True)
        ]

    def classify(queries: torch.Tensor) -> torch.Tensor:
        logits = perceptron(_pad_rows(queries.flatten(2)), parameters)
        return logits[:, : queries.shape[1], :n_way]

    return classify


def _pad_rows(rows: torch.Tensor) -> torch.Tensor:
    """Add zero rows to (E, R, D) until R is a multiple of 16."""
    return F.pad(rows, (0, 0, 0, -rows.shape[1] % ROWS))
