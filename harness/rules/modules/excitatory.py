"""How excitatory networks with uniform inhibition compute, as modules that only hold buffers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


def activity(drive: torch.Tensor, winners: int | None) -> torch.Tensor:
    """ReLU of the drive minus its mean over neurons, a pool of uniform inhibition.

    Args:
        drive: (..., H).
        winners: k; only the k most active neurons respond. None: all above the inhibition do.
    """
    h = F.relu(drive - drive.mean(-1, keepdim=True))
    if winners is None or winners >= h.shape[-1]:
        return h
    kth_largest = h.topk(winners, dim=-1).values[..., -1:]
    return h * (h >= kth_largest)


class ExcitatoryPerceptron(nn.Module):
    """Layers of excitatory weights, each followed by ``activity``.

    Args:
        weights: (n_in, n_out), or (E, n_in, n_out) for E networks.
        winners: k of each layer's k-winners-take-all; None for a rectifier.
    """

    def __init__(self, weights: Sequence[torch.Tensor], winners: int | None) -> None:
        super().__init__()
        self.winners = winners
        for depth, weight in enumerate(weights):
            self.register_buffer(f"weight{depth}", weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(..., B, C, H, W) to the activity of the last layer, (..., B, D)."""
        h = images.flatten(-3)
        for weight in self.buffers():
            h = activity(h @ weight, self.winners)
        return h


class SigmoidCode(nn.Module):
    """h = 2 sigmoid(z) - 1 where z >= 0, and 0 elsewhere.

    z_j = g (u_j - mean u) + b_j with u_j = w_j . x / (|w_j| |x|): uniform inhibition after synaptic
    and divisive scaling.

    Args:
        weight: w, (n, H).
        bias: b, (H,).
        gain: g.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, gain: float) -> None:
        super().__init__()
        self.gain = gain
        length = torch.linalg.vector_norm(weight, dim=0).clamp_min(1e-12)
        self.register_buffer("weight", weight / length)
        self.register_buffer("bias", bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, H)."""
        flat = images.flatten(1)
        x = flat / (torch.linalg.vector_norm(flat, dim=1, keepdim=True) + 1e-6)
        u = x @ self.weight
        z = self.gain * (u - u.mean(1, keepdim=True)) + self.bias
        return 2 * torch.sigmoid(F.relu(z)) - 1
