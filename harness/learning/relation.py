"""The comparison of relation networks, whose first layer does not see pairs. Reached lazily: this file imports torch."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.bodies import freeze, pooled

HIDDEN = 8
"""Units of the layer before the score (Sung et al. 2018, figure 3)."""


class Relation(nn.Module):
    """Embeddings (Q, D) and class means (n_way, D) to a score for each pair, (Q, n_way), before the sigmoid.

    A layer on two concatenated inputs is the sum of a layer on each: so the first convolution runs once a query and once a
    class, not once a pair.

    Args:
        features: D.
        width: filters a block, or units.
        generator: of the initial weights.
        maps: an embedding is ``width`` square maps, flat.
    """

    def __init__(self, features: int, width: int, generator: torch.Generator, *, maps: bool):
        super().__init__()
        self.side = math.isqrt(features // width) if maps else 0

        def weight(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * math.sqrt(2 / fan_in))

        if maps:
            self.query, self.known = (
                weight(width, width, 3, 3, fan_in=18 * width) for _ in range(2)
            )
            self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
            self.deep = weight(width, width, 3, 3, fan_in=9 * width)
            end = width * max(1, max(1, self.side // 2) // 2) ** 2
        else:
            self.query, self.known = (
                weight(features, width, fan_in=2 * features) for _ in range(2)
            )
            self.bias, end = nn.Parameter(torch.zeros(1, width)), width
        self.hidden, self.score = (
            weight(end, HIDDEN, fan_in=end),
            weight(HIDDEN, 1, fan_in=2 * HIDDEN),
        )
        self.hidden_bias, self.score_bias = (
            nn.Parameter(torch.zeros(1, HIDDEN)),
            nn.Parameter(torch.zeros(1, 1)),
        )

    def forward(self, queries: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        pairs = self._maps(queries, known) if self.side else self._vectors(queries, known)
        hidden = F.relu(pairs @ self.hidden + self.hidden_bias)
        return (hidden @ self.score + self.score_bias).view(len(queries), len(known))

    def _maps(self, queries: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """(Q * n_way, end)."""
        ours, theirs = (
            F.conv2d(x.unflatten(1, (-1, self.side, self.side)), w, padding=1)
            for x, w in ((queries, self.query), (known, self.known))
        )
        x = (ours[:, None] + theirs).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        x = pooled(self.norms[0](x))
        return pooled(self.norms[1](F.conv2d(x, self.deep, padding=1))).flatten(1)

    def _vectors(self, queries: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """(Q * n_way, end)."""
        return F.relu((queries @ self.query)[:, None] + known @ self.known + self.bias).flatten(
            0, 1
        )

    def still(self) -> Relation:
        """A frozen copy in eval mode."""
        return freeze(copy.deepcopy(self))
