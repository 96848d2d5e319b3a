"""Divisive normalisation by the contrast nearby."""

from __future__ import annotations

from pydantic import Field, field_validator

from harness import registry
from harness.fronts.base import Front, Tensors
from harness.lazy import F, nn, torch
from harness.registry import fronts


@fronts.register("divisive")
class Divisive(Front):
    """Each pixel divided by the contrast around it (Carandini & Heeger 2012, eq. 1).

    x / (sigma + sqrt(mean of x^2)), the mean over all channels and a square around the pixel.
    Contrast far above sigma does not matter any more; where the image is empty, small
    perturbations are amplified up to 1 / sigma times.
    """

    class Config(registry.Config):
        """Keys of ``divisive``."""

        sigma: float = Field(0.1, gt=0, description="contrast at which the division sets in")
        size: int = Field(7, ge=1, description="side of the square around a pixel, odd")

        @field_validator("size")
        @classmethod
        def _is_odd(cls, size: int) -> int:
            if size % 2 == 0:
                raise ValueError("must be odd, so that the pixel is in the middle")
            return size

    config: Config

    def module(self) -> nn.Module:
        """The division."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(_normalised, {}, sigma=self.config.sigma, size=self.config.size)


def _normalised(images: torch.Tensor, tensors: Tensors, sigma: float, size: int) -> torch.Tensor:
    return normalised(images, sigma, size)


def normalised(x: torch.Tensor, sigma: float, size: int) -> torch.Tensor:
    """X / (sigma + root mean square over channels and a square), for x (B, C, H, W).

    Beyond the edge of the image the mean takes what is inside.
    """
    energy = x.square().mean(1, keepdim=True)
    nearby = F.avg_pool2d(energy, size, stride=1, padding=size // 2, count_include_pad=False)
    return x / (sigma + root(nearby))


def root(x: torch.Tensor) -> torch.Tensor:
    """The square root of x >= 0, with a finite slope at 0."""
    tiny = 1e-8
    return (x + tiny).sqrt() - tiny**0.5
