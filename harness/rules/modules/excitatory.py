"""Forward passes of excitatory networks with uniform inhibition, as modules that only hold buffers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


def activity(drive: torch.Tensor, winners: int | None) -> torch.Tensor:
    """ReLU of what a pool of uniform inhibition (the mean drive) leaves; with ``winners``, of the k largest only."""
    h = F.relu(drive - drive.mean(-1, keepdim=True))
    if winners is None or winners >= h.shape[-1]:
        return h
    least = h.topk(winners, dim=-1).values[..., -1:]
    return h * (h >= least)


class ExcitatoryPerceptron(nn.Module):
    """Layers of excitatory weights, each followed by uniform inhibition and a rectifier: images to the last activity.

    Args:
        weights: (n_in, n_out) or, for E networks, (E, n_in, n_out).
        winners: k of each layer's k-WTA; None: all that stand above the inhibition.
    """

    def __init__(self, weights: Sequence[torch.Tensor], winners: int | None):
        super().__init__()
        self.winners = winners
        for depth, weight in enumerate(weights):
            self.register_buffer(f"weight{depth}", weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(..., B, C, H, W) -> (..., B, D)."""
        h = images.flatten(-3)
        for weight in self.buffers():
            h = activity(h @ weight, self.winners)
        return h


class SigmoidCode(nn.Module):
    """h = 2 sigmoid(z) - 1 where z >= 0 and 0 below: images to h (B, H).

    z_j = g (u_j - mean u) + b_j, u_j = w_j . x / (|w_j| |x|): uniform inhibition after synaptic and divisive scaling.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, gain: float):
        super().__init__()
        self.gain = gain
        self.register_buffer(
            "weight", weight / torch.linalg.vector_norm(weight, dim=0).clamp_min(1e-12)
        )
        self.register_buffer("bias", bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, H)."""
        flat = images.flatten(1)
        drive = (flat / (torch.linalg.vector_norm(flat, dim=1, keepdim=True) + 1e-6)) @ self.weight
        z = self.gain * (drive - drive.mean(1, keepdim=True)) + self.bias
        return 2 * torch.sigmoid(F.relu(z)) - 1
