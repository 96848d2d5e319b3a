"""ResNet-18 in its variant for CIFAR."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("resnet18")
class ResNet18(Body):
    """ResNet-18 for small images (He et al. 2016, CVPR): 64 to 512 maps, 11.2 M weights.

    As usual for CIFAR, the first convolution is 3 x 3 and nothing pools after it.
    """

    class Config(registry.Config):
        """Keys of ``resnet18``."""

        width: int = Field(
            64, ge=1, description="maps of the first group; each further group has twice as many"
        )

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The embedding has as many values as the last group has maps."""
        from harness.learning.residual import residual_network

        width = self.config.width
        widths = (width, 2 * width, 4 * width, 8 * width)
        return residual_network(image_shape[0], widths, 2, generator, projects=True)
