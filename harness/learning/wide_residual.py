"""The block of wide residual networks.

This file defines an ``nn.Module`` class, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.residual import Padded, convolution


class Preactivated(nn.Module):
    """Two 3 x 3 convolutions, each after batch normalisation and ReLU, and a shortcut.

    Zagoruyko & Komodakis (2016), figure 1d. A shortcut to another shape is a 1 x 1 convolution of
    the activated input.

    Args:
        n_in: Maps that come in.
        n_out: Maps that go out.
        stride: Of the first convolution.
        dropout: Share of values dropped between the convolutions.
        generator: Draws the weights.
    """

    def __init__(
        self, n_in: int, n_out: int, stride: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_in)
        self.branch = nn.Sequential(
            convolution(n_in, n_out, 3, generator, stride=stride),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Dropout(dropout),
            convolution(n_out, n_out, 3, generator),
        )
        self.projection: nn.Module | None = None
        if (n_in, stride) != (n_out, 1):
            projection = convolution(n_in, n_out, 1, generator)
            self.projection = nn.Sequential(Padded(0, stride), projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D, H', W')."""
        activated = F.relu(self.norm(x))
        shortcut = x if self.projection is None else self.projection(activated)
        return self.branch(activated) + shortcut
