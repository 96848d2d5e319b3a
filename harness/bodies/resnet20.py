"""ResNet-20: a residual network for CIFAR of 6 n + 2 layers, with n = 3."""

from __future__ import annotations

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("resnet20")
class ResNet20(Body):
    """Residual network for CIFAR: 3 groups of 3 blocks, 16-32-64 maps: 0.27 M weights.

    He, Zhang, Ren & Sun (2016, CVPR, section 4.2), with shortcuts that have no weights (option A).
    """

    class Config(registry.Config):
        """No keys."""

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The embedding has 64 values."""
        from harness.learning.residual import residual_network

        return residual_network(image_shape[0], (16, 32, 64), 3, generator, projects=False)
