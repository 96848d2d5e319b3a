"""How competitive layers and their read-outs compute, as modules that only hold buffers."""

from __future__ import annotations

import torch
from torch import nn

TINY = 1e-6
"""Added to an image's length, so that a black image has a code too."""


def inhibited(images: torch.Tensor, divisive: bool = True) -> torch.Tensor:
    """Flatten images (..., C, H, W) and divide each by its length, (..., n).

    The division is that of one pool of feed-forward inhibition for the whole layer; without
    ``divisive`` it is left out.
    """
    flat = images.flatten(-3)
    if not divisive:
        return flat
    return flat / (torch.linalg.vector_norm(flat, dim=-1, keepdim=True) + TINY)


class CompetitiveCode(nn.Module):
    """A soft winner-take-all: the code h = softmax(T (u - b)) with u_j = w_j . x / |w_j|.

    Args:
        weight: w, excitatory, (H, n) or (E, H, n) for E episodes.
        threshold: Homeostatic b, (H,) or (E, H).
        temperature: T; the larger it is, the fewer neurons win.
        divisive: Whether images are divided by their length.
        scaling: Whether each neuron's drive is divided by the length of its weights.
    """

    weight: torch.Tensor
    threshold: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        threshold: torch.Tensor,
        temperature: float,
        divisive: bool = True,
        scaling: bool = True,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.divisive = divisive
        if scaling:
            weight = weight / (torch.linalg.vector_norm(weight, dim=-1, keepdim=True) + 1e-12)
        self.register_buffer("weight", weight.transpose(-1, -2).contiguous())
        self.register_buffer("threshold", threshold.unsqueeze(-2).contiguous())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, H), or (E, B, C, H, W) to (E, B, H)."""
        u = torch.matmul(inhibited(images, self.divisive), self.weight)
        return torch.softmax(self.temperature * (u - self.threshold), dim=-1)


class ExcitatoryReadout(nn.Module):
    """Logits o_c = g (h . V_c - mean over c' of h . V_c'): one pool of uniform inhibition.

    Args:
        weight: V, (H, C) or (E, H, C).
        gain: g.
    """

    weight: torch.Tensor

    def __init__(self, weight: torch.Tensor, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("weight", weight)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """(B, H) to (B, C), or (E, B, H) to (E, B, C)."""
        o = torch.matmul(code, self.weight)
        return self.gain * (o - o.mean(-1, keepdim=True))
