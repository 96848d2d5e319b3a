"""An attack towards one class: whether the network says this class, as a network of two logits."""

from __future__ import annotations

import torch
from torch import nn


class Towards(nn.Module):
    """The largest other logit of a network, and the logit of one class.

    Every attack is untargeted on it: label 0 is lost where the network predicts the class, and the
    margin is that of the class over the best other one (Carlini & Wagner 2017, f6).

    Args:
        network: float32 (B, C, H, W) to logits (B, n_classes), at least two.
        target: the class.
    """

    def __init__(self, network: nn.Module, target: int) -> None:
        super().__init__()
        self.network = network
        self.target = target
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, C, H, W) to (B, 2)."""
        logits = self.network(images)
        wanted = logits[:, self.target]
        others = torch.cat([logits[:, : self.target], logits[:, self.target + 1 :]], 1)
        return torch.stack([others.amax(1), wanted], 1)
