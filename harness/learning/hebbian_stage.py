"""A convolutional layer whose filters compete: its keys, its drive, and its pooled answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.lazy import F, torch
from harness.registry import Config

SMALLEST = 1e-12

Form = Literal["maps", "flat", "average"]


class LayerConfig(Config):
    """Keys of one convolutional layer."""

    channels: int = Field(64, ge=2, description="filters")
    kernel: int = Field(5, ge=1, description="side of a filter, odd")
    lr: float | None = Field(None, gt=0, description="rate; null: usual for the rule")
    gain: float = Field(1.0, gt=0, description="inverse temperature of soft's competition")
    threshold_rate: float = Field(0.3, gt=0, le=1, description="how fast bcm's threshold slides")
    lateral: list[Annotated[float, Field(gt=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="widths of lateral excitation and inhibition, in places; null: without",
    )
    power: float = Field(1.0, gt=0, description="power of the activation")
    pool: Literal["max", "average"] = Field("max", description="pooling")
    pool_size: int = Field(4, ge=1, description="side of the squares that are pooled")
    stride: int = Field(4, ge=1, description="places between neighbouring squares")

    @model_validator(mode="after")
    def _fits(self) -> LayerConfig:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd, so that a place is in the middle")
        if self.pool_size < self.stride or (self.pool_size - self.stride) % 2:
            raise ValueError("pool_size must be stride, or larger by an even number")
        if self.lateral and self.lateral[0] >= self.lateral[1]:
            raise ValueError("lateral excitation must be narrower than inhibition")
        return self

    def side(self, side: int) -> int:
        """Side of the pooled map, from that of the input."""
        return (side + 2 * self.padding - self.pool_size) // self.stride + 1

    @property
    def padding(self) -> int:
        """Places that pooling adds at each edge."""
        return (self.pool_size - self.stride) // 2


@dataclass(frozen=True)
class Stage:
    """What a layer computes.

    Attributes:
        layer: Its keys.
        cosine: Whether the drive is the cosine of filter and patch, or their product.
    """

    layer: LayerConfig
    cosine: bool

    def drive(self, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """The drive (B, C, H, W) of filters (C, c, k, k), on a normalised input (B, c, H, W)."""
        x = around(x, self.layer.kernel)
        u = F.conv2d(x, kernel)
        if self.cosine:
            ones = torch.ones_like(kernel[:1])
            power = F.conv2d(x.square(), ones) * kernel.square().sum((1, 2, 3)).view(1, -1, 1, 1)
            u = u * (power + SMALLEST).rsqrt()
        if self.layer.lateral:
            u = between_places(u, *self.layer.lateral)
        return u

    def answer(self, u: torch.Tensor) -> torch.Tensor:
        """relu(u - mean over channels)^power, pooled."""
        layer = self.layer
        y = F.relu(u - u.mean(1, keepdim=True))
        if layer.power != 1:
            y = y.clamp_min(SMALLEST).pow(layer.power)  # the slope at zero is finite
        pool = F.max_pool2d if layer.pool == "max" else F.avg_pool2d
        pooled: torch.Tensor = pool(y, layer.pool_size, layer.stride, layer.padding)
        return pooled


def around(x: torch.Tensor, kernel: int) -> torch.Tensor:
    """Maps (B, c, H, W) with reflected edges, so that every place has a whole patch."""
    return F.pad(x, [kernel // 2] * 4, mode="reflect")


def patches_of(x: torch.Tensor, kernel: int) -> torch.Tensor:
    """The patch around every place: (B, c, H, W) to (B H W, c k k), image by image."""
    patches = F.unfold(around(x, kernel), kernel)
    return patches.transpose(1, 2).flatten(0, 1)


def between_places(u: torch.Tensor, excitation: float, inhibition: float) -> torch.Tensor:
    """Each map (B, C, H, W) through a difference of Gaussians that is one in the middle.

    Args:
        u: Drives.
        excitation: Width of the Gaussian that is added, in places.
        inhibition: Width of the one that is subtracted.
    """
    at = torch.arange(-2.0, 3.0, device=u.device)
    square = at[:, None].square() + at.square()

    def gaussian(width: float) -> torch.Tensor:
        return torch.exp(-square / (2 * width**2)) / (2 * math.pi * width**2)

    kernel = gaussian(excitation) - gaussian(inhibition)
    kernel = (kernel / kernel[2, 2]).expand(u.shape[1], 1, 5, 5)
    return F.conv2d(u, kernel, padding=2, groups=u.shape[1])


def features(
    images: torch.Tensor, tensors: dict[str, torch.Tensor], stages: list[Stage], form: Form
) -> torch.Tensor:
    """The last layer's answer: its maps, all of it in one row, or each channel's mean."""
    x = images
    for i, stage in enumerate(stages):
        x = (x - tensors[f"mean{i}"]) / tensors[f"deviation{i}"]
        x = stage.answer(stage.drive(x, tensors[f"weight{i}"]))
    if form == "maps":
        return x
    return x.mean((2, 3)) if form == "average" else x.flatten(1)
