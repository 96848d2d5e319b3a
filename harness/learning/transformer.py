"""A vision transformer.

This file defines ``nn.Module`` classes, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SPREAD = 0.02
"""Standard deviation of initial weights (Touvron et al. 2021)."""


class VisionTransformer(nn.Module):
    """Patches to tokens, pre-norm transformer blocks, and the class token as the embedding.

    Args:
        image_shape: (C, H, W).
        patch: Side of a patch; divides H and W.
        width: Values of a token.
        depth: Number of blocks.
        heads: Attention heads; divides ``width``.
        generator: Draws the weights.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        patch: int,
        width: int,
        depth: int,
        heads: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        tokens = 1 + (height // patch) * (breadth // patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=SPREAD, generator=generator)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to embeddings (B, width)."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        token = self.token.expand(len(images), -1, -1)
        x = torch.cat([token, patches], dim=1) + self.positions
        return self.norm(self.blocks(x)[:, 0])


class Block(nn.Module):
    """Self-attention and a perceptron, each after layer normalisation and added to its input.

    Args:
        width: Values of a token.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.to_attention = nn.Linear(width, 3 * width)
        self.from_attention = nn.Linear(width, width)
        self.before_perceptron = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, width) to the same shape."""
        x = x + self._attention(self.before_attention(x))
        return x + self.output(F.gelu(self.hidden(self.before_perceptron(x))))

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        """Written out: fused attention cannot be differentiated twice, as MAML does."""
        parts = self.to_attention(x).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, heads, T, width / heads) each
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        mixed = scores.softmax(3) @ value
        return self.from_attention(mixed.transpose(1, 2).flatten(2))
