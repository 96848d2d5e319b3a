"""How do relation networks compare a query with a class?

This file defines ``nn.Module`` classes, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.bodies import freeze, pooled
from harness.learning.nets import he_weights

HIDDEN = 8
"""Units of the layer before the score (Sung et al. 2018, figure 3)."""


class Relation(nn.Module):
    """Relation scores of embeddings (Q, D) and class means (n_way, D), before the sigmoid.

    A layer on two concatenated inputs is the sum of a layer on each of them. The first layer
    therefore runs once per query and once per class instead of once per pair.

    Args:
        features: D.
        width: Filters per block, or units.
        generator: Draws the initial weights.
        maps: Whether an embedding is ``width`` square maps, flattened.
    """

    def __init__(
        self, features: int, width: int, generator: torch.Generator, *, maps: bool
    ) -> None:
        super().__init__()
        self.side = math.isqrt(features // width) if maps else 0

        def weight(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(he_weights(*shape, fan_in=fan_in, generator=generator))

        if maps:
            # ``query`` and ``known`` are the two halves of one convolution on 2 * width maps.
            self.query = weight(width, width, 3, 3, fan_in=18 * width)
            self.known = weight(width, width, 3, 3, fan_in=18 * width)
            self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
            self.deep = weight(width, width, 3, 3, fan_in=9 * width)
            side_after_pooling = max(1, max(1, self.side // 2) // 2)
            end = width * side_after_pooling**2
        else:
            self.query = weight(features, width, fan_in=2 * features)
            self.known = weight(features, width, fan_in=2 * features)
            self.bias = nn.Parameter(torch.zeros(1, width))
            end = width
        self.hidden = weight(end, HIDDEN, fan_in=end)
        self.score = weight(HIDDEN, 1, fan_in=2 * HIDDEN)
        self.hidden_bias = nn.Parameter(torch.zeros(1, HIDDEN))
        self.score_bias = nn.Parameter(torch.zeros(1, 1))

    def forward(self, queries: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Queries (Q, D) and class means (n_way, D) to scores (Q, n_way)."""
        pairs = self._maps(queries, known) if self.side else self._vectors(queries, known)
        hidden = F.relu(pairs @ self.hidden + self.hidden_bias)
        scores = hidden @ self.score + self.score_bias
        return scores.view(len(queries), len(known))

    def _maps(self, queries: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Features of each pair, (Q * n_way, end), by two convolution blocks."""
        from_query = F.conv2d(self._unflattened(queries), self.query, padding=1)
        from_class = F.conv2d(self._unflattened(known), self.known, padding=1)
        x = (from_query[:, None] + from_class).flatten(0, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = pooled(self.norms[0](x))
        x = pooled(self.norms[1](F.conv2d(x, self.deep, padding=1)))
        return x.flatten(1)

    def _unflattened(self, embeddings: torch.Tensor) -> torch.Tensor:
        return embeddings.unflatten(1, (-1, self.side, self.side))

    def _vectors(self, queries: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Features of each pair, (Q * n_way, end), by one dense layer."""
        from_query = (queries @ self.query)[:, None]
        from_class = known @ self.known
        return F.relu(from_query + from_class + self.bias).flatten(0, 1)

    def frozen_copy(self) -> nn.Module:
        """A frozen copy in eval mode."""
        return freeze(copy.deepcopy(self))
