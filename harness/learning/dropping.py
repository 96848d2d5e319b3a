"""DropBlock: squares of a map are dropped in training.

This file defines an ``nn.Module`` class, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class DropBlock(nn.Module):
    """Drop squares of each map and scale the rest up (Ghiasi et al. 2018, algorithm 1).

    Maps smaller than the square have squares of their own size.

    Args:
        drop: Share of values that is dropped, about.
        side: Of a square.
    """

    def __init__(self, drop: float, side: int = 5) -> None:
        super().__init__()
        self.drop = drop
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        if not self.training:
            return x
        height, width = x.shape[2:]
        side = min(self.side, height, width)
        # Squares lie within the map, so there are fewer places for their corners than values.
        corners = (height - side + 1, width - side + 1)
        chance = self.drop * height * width / side**2 / (corners[0] * corners[1])
        dropped = (torch.rand(*x.shape[:2], *corners, device=x.device) < chance).to(x.dtype)
        beyond = side - 1
        squares = F.max_pool2d(F.pad(dropped, (beyond,) * 4), side, stride=1)
        kept = 1 - squares
        return x * kept * (kept.numel() / kept.sum().clamp_min(1))
