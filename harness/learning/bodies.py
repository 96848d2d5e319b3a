"""Which networks make the features: trained by gradient descent, then frozen.

A body maps images (B, C, H, W) to embeddings (B, D). This file defines ``nn.Module`` classes, so it
imports torch and must be imported lazily.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.nets import Perceptron, frozen, he_weights, init_perceptron, perceptron
from harness.networks import parts

BLOCKS = 4
GROUPS = 8
"""Groups of a group normalisation, at most (Wu & He 2018 use 32 on wider layers)."""


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, normalisation, 2x2 max pooling and ReLU.

    This is the network of Vinyals et al. (2016) and Snell et al. (2017). 28x28 images give
    ``width`` values. Images too small for four poolings (e.g. 8x8) skip the last ones.

    Args:
        channels: Channels of the images.
        width: Filters per block.
        generator: Draws the initial weights.
        pools: Number of blocks that pool, counted from the first.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        generator: torch.Generator,
        *,
        pools: int = BLOCKS,
    ) -> None:
        super().__init__()
        self.pools = pools
        self.width = width
        inputs = [channels] + [width] * (BLOCKS - 1)
        self.weights = nn.ParameterList(
            channels_last(he_weights(width, n, 3, 3, fan_in=9 * n, generator=generator))
            for n in inputs
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(BLOCKS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to embeddings (B, D)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for i, (weight, norm) in enumerate(zip(self.weights, self.norms, strict=True)):
            x = pooled(norm(F.conv2d(x, weight, padding=1)), i < self.pools)
        return x.flatten(1)

    def connections(self) -> dict[str, torch.Tensor]:
        """Name of each layer -> weight (inputs of one position, filters)."""
        return {
            f"conv{i}": weight.detach().flatten(1).T for i, weight in enumerate(self.weights, 1)
        }

    def folded(self) -> FoldedConv4:
        """The same function in eval mode, batch normalisation folded into the convolutions."""
        return FoldedConv4(self)


class GroupNorm(nn.GroupNorm):
    """Group normalisation that only scales and shifts maps of a single pixel.

    There, a group has only a few values and normalising them destroys the signal: one value becomes
    0 for every image, two become +1 and -1.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        if x.shape[2:].numel() > 1:
            return super().forward(x)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class FoldedConv4(nn.Module):
    """A frozen batch-normalised ``Conv4`` in eval mode, normalisation folded into its weights."""

    def __init__(self, body: Conv4) -> None:
        super().__init__()
        self.pools = body.pools
        weights = []
        biases = []
        for weight, module in zip(body.weights, body.norms, strict=True):
            norm = cast(nn.BatchNorm2d, module)
            mean = cast(torch.Tensor, norm.running_mean)
            variance = cast(torch.Tensor, norm.running_var)
            scale = norm.weight * torch.rsqrt(variance + norm.eps)
            weights.append(frozen(channels_last(weight * scale[:, None, None, None])))
            biases.append(frozen(norm.bias - mean * scale))
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(biases)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to embeddings (B, D)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = pooled(F.conv2d(x, weight, bias, padding=1), i < self.pools)
        return x.flatten(1)


def channels_last(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights in the memory layout of its images.

    ``contiguous`` does not change the strides of weights with one input channel. The convolution
    would then convert images to the other layout, which takes two to three times as long.
    """
    return weight.clone(memory_format=torch.channels_last)


def pooled(x: torch.Tensor, pool: bool = True) -> torch.Tensor:
    """2x2 max pooling, if requested and the maps are large enough, then ReLU.

    Pooling first gives the same values as ReLU first, on a quarter of the activations.
    """
    if pool and min(x.shape[2:]) >= 2:
        x = F.max_pool2d(x, 2)
    return F.relu(x)


class Dense(nn.Module):
    """Two ReLU layers of ``width`` units on the flat image."""

    def __init__(self, pixels: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.ParameterList(init_perceptron([pixels, width, width], generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to embeddings (B, width)."""
        return F.relu(perceptron(images.flatten(1), list(self.layers)))

    def connections(self) -> dict[str, torch.Tensor]:
        """Name of each layer -> weight (pre, post)."""
        weights = list(self.layers)[::2]
        return {f"dense{i}": weight.detach() for i, weight in enumerate(weights, 1)}

    def folded(self) -> Perceptron:
        """The same function, frozen."""
        return Perceptron(list(self.layers), activity=True)


def frozen_body(body: nn.Module) -> nn.Module:
    """The same function in eval mode, as a frozen module of its own."""
    if isinstance(body, Conv4 | Dense):
        return body.folded()
    return freeze(copy.deepcopy(body))


def connections(body: nn.Module) -> dict[str, tuple[torch.Tensor, bool]]:
    """Name of each layer -> weight (pre, post), and whether the layer is dense."""
    if isinstance(body, Conv4 | Dense):
        is_dense = isinstance(body, Dense)
        return {name: (weight, is_dense) for name, weight in body.connections().items()}
    return parts.connections(body)


def without_batch_statistics(body: nn.Module) -> nn.Module:
    """Replace every batch normalisation of maps by a group normalisation, in place."""
    for module in body.modules():
        for name, part in module.named_children():
            if isinstance(part, nn.BatchNorm2d):
                width = part.num_features
                setattr(module, name, GroupNorm(math.gcd(GROUPS, width), width))
    return body


def embedding_width(body: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """D of a body's embeddings (B, D)."""
    with torch.no_grad():
        return body(torch.zeros(1, *image_shape)).shape[1]


def freeze(network: nn.Module) -> nn.Module:
    """Put a network in eval mode and cut its parameters from all graphs.

    It replaces the entries of ``_parameters`` because clones made by learn2learn keep tensors that
    are not parameters there.
    """
    for module in network.modules():
        for name, value in module._parameters.items():
            module._parameters[name] = None if value is None else frozen(value)
    return network.eval()
