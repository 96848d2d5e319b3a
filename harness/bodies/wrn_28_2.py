"""WRN-28-2: a wide residual network."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("wrn-28-2")
class Wrn282(Body):
    """Wide residual network, 28 layers, width 2 (Zagoruyko & Komodakis 2016): 1.5 M weights.

    Three groups of four blocks, 32-64-128 maps; batch norm and ReLU come before a convolution.
    """

    class Config(registry.Config):
        """Keys of ``wrn-28-2``."""

        dropout: float = Field(
            0.0, ge=0, lt=1, description="share dropped between the convolutions of a block"
        )

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The embedding has 128 values."""
        from harness.learning.residual import ChannelsLast, convolution
        from harness.learning.wide_residual import Preactivated

        layers: list[nn.Module] = [convolution(image_shape[0], 16, 3, generator)]
        n_in = 16
        for group, width in enumerate((32, 64, 128)):
            for block in range(4):
                stride = 2 if group and not block else 1
                layers.append(Preactivated(n_in, width, stride, self.config.dropout, generator))
                n_in = width
        return ChannelsLast(*layers, nn.BatchNorm2d(n_in), nn.ReLU())
