"""One fixed nonlinearity for each pixel."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.fronts.base import Front, Tensors
from harness.lazy import nn, torch
from harness.registry import fronts


@fronts.register("pixel-sigmoid")
class PixelSigmoid(Front):
    """Each pixel through sigmoid(slope (x - threshold)).

    Where pixels are nearly binary, as in MNIST, this alone takes most of an Linf perturbation away.
    The robustness is real, not masked: that of a linear read-out behind it has a closed form. Any
    claim of robustness on such images needs this control.
    """

    class Config(registry.Config):
        """Keys of ``pixel-sigmoid``."""

        slope: float = Field(14.0, gt=0, description="steepness of the sigmoid")
        threshold: float = Field(0.5, ge=0, le=1, description="brightness that becomes 0.5")

    config: Config

    def module(self) -> nn.Module:
        """The sigmoid."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(
            _squashed, {}, slope=self.config.slope, threshold=self.config.threshold
        )


def _squashed(
    images: torch.Tensor, tensors: Tensors, slope: float, threshold: float
) -> torch.Tensor:
    return torch.sigmoid(slope * (images - threshold))
