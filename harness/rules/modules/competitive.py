"""The forward pass of a competitive layer and the heads that read its code, as modules that only hold buffers."""

from __future__ import annotations

import torch
from torch import nn

TINY = 1e-6
"""Added to an image's length, so that a black image has a code too."""


def inhibited(images: torch.Tensor, divisive: bool = True) -> torch.Tensor:
    """Flattened images (..., n), each divided by its length: one pool of feed-forward inhibition for the whole layer.

    Args:
        images: (..., C, H, W).
        divisive: False leaves the lengths as they are.
    """
    flat = images.flatten(-3)
    return (
        flat / (torch.linalg.vector_norm(flat, dim=-1, keepdim=True) + TINY) if divisive else flat
    )


class CompetitiveCode(nn.Module):
    """Images to the code h = softmax(T (u - b)), u_j = w_j . x / |w_j|: a soft winner-take-all.

    Args:
        weight: (H, n) or, for E episodes at once, (E, H, n); excitatory.
        threshold: (H,) or (E, H), the homeostatic b.
        temperature: T; the larger, the fewer winners.
        divisive: whether images are divided by their length.
        scaling: whether each neuron's drive is divided by the length of its weights.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        threshold: torch.Tensor,
        temperature: float,
        divisive: bool = True,
        scaling: bool = True,
    ):
        super().__init__()
        self.temperature, self.divisive = temperature, divisive
        read = (
            weight / (torch.linalg.vector_norm(weight, dim=-1, keepdim=True) + 1e-12)
            if scaling
            else weight
        )
        self.register_buffer("weight", read.transpose(-1, -2).contiguous())
        self.register_buffer("threshold", threshold.unsqueeze(-2).contiguous())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, H), or (E, B, C, H, W) -> (E, B, H)."""
        drive = torch.matmul(inhibited(images, self.divisive), self.weight)
        return torch.softmax(self.temperature * (drive - self.threshold), dim=-1)


class ExcitatoryReadout(nn.Module):
    """Code to logits o_c = g (h . V_c - mean over c' of h . V_c'): excitation, and one pool of uniform inhibition.

    Args:
        weight: V (H, C) or (E, H, C).
        gain: g.
    """

    def __init__(self, weight: torch.Tensor, gain: float):
        super().__init__()
        self.gain = gain
        self.register_buffer("weight", weight)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """(B, H) -> (B, C), or (E, B, H) -> (E, B, C)."""
        drive = torch.matmul(code, self.weight)
        return self.gain * (drive - drive.mean(-1, keepdim=True))
