"""Residual networks: their blocks, and how blocks are put together.

This file defines ``nn.Module`` classes, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.bodies import channels_last


class ChannelsLast(nn.Module):
    """Layers that see images in the memory layout in which convolutions are fast.

    Their embeddings are the mean over positions.

    Args:
        *layers: Images (B, C, H, W) to maps (B, D, H', W').
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        for module in self.layers.modules():
            if isinstance(module, nn.Conv2d):
                module.weight = nn.Parameter(channels_last(module.weight.detach()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to embeddings (B, D)."""
        x = images.contiguous(memory_format=torch.channels_last)
        return self.layers(x).mean((2, 3))


def convolution(
    n_in: int, n_out: int, side: int, generator: torch.Generator, *, stride: int = 1
) -> nn.Conv2d:
    """A convolution without biases, padded so that maps keep their size, by He's initialisation.

    Weights are normal with variance 2 / (side^2 n_out) (He et al. 2015, eq. 14).
    """
    layer = nn.Conv2d(n_in, n_out, side, stride=stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=generator)
    return layer


def normed(
    n_in: int, n_out: int, side: int, generator: torch.Generator, *, stride: int = 1
) -> nn.Sequential:
    """A convolution, then batch normalisation."""
    return nn.Sequential(
        convolution(n_in, n_out, side, generator, stride=stride), nn.BatchNorm2d(n_out)
    )


class Residual(nn.Module):
    """The sum of a branch and a shortcut, then ReLU (He et al. 2016, CVPR).

    Args:
        branch: What is learned.
        shortcut: Brings the input to the shape of the branch.
        slope: Of the leaky ReLU below zero.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, slope: float = 0.0) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D, H', W')."""
        return F.leaky_relu(self.branch(x) + self.shortcut(x), self.slope)


class Padded(nn.Module):
    """A shortcut without weights: every second place, and further maps of zeros.

    This is option A of He et al. (2016, CVPR, section 3.3). Without further maps, it also comes
    before a 1 x 1 convolution: with a stride and few maps, torch 2.13's own corrupts memory.

    Args:
        extra: Number of maps of zeros.
        stride: 2 for every second place; 1 for all.
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C + extra, H', W')."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))


def basic_block(
    n_in: int, n_out: int, stride: int, generator: torch.Generator, *, projects: bool
) -> Residual:
    """Two 3 x 3 convolutions and a shortcut.

    Args:
        n_in: Maps that come in.
        n_out: Maps that go out.
        stride: Of the first convolution.
        generator: Draws the weights.
        projects: Whether a shortcut to another shape is a 1 x 1 convolution (option B), or has no
            weights (option A).
    """
    branch = nn.Sequential(
        normed(n_in, n_out, 3, generator, stride=stride),
        nn.ReLU(),
        normed(n_out, n_out, 3, generator),
    )
    shortcut: nn.Module = nn.Identity()
    if (n_in, stride) != (n_out, 1):
        if projects:
            shortcut = nn.Sequential(Padded(0, stride), normed(n_in, n_out, 1, generator))
        else:
            shortcut = Padded(n_out - n_in, stride)
    return Residual(branch, shortcut)


def residual_network(
    channels: int,
    widths: Sequence[int],
    blocks: int,
    generator: torch.Generator,
    *,
    projects: bool,
) -> nn.Module:
    """A residual network for small images: a 3 x 3 convolution, then groups of basic blocks.

    Args:
        channels: Of the images.
        widths: Maps of each group; every group but the first halves the maps' sides.
        blocks: In each group.
        generator: Draws the weights.
        projects: As ``basic_block`` takes it.
    """
    layers: list[nn.Module] = [normed(channels, widths[0], 3, generator), nn.ReLU()]
    n_in = widths[0]
    for group, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if group and not block else 1
            layers.append(basic_block(n_in, width, stride, generator, projects=projects))
            n_in = width
    return ChannelsLast(*layers)
