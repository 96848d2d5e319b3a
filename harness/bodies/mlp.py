"""The perceptron as a body: two dense layers."""

from __future__ import annotations

import math

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("mlp")
class Mlp(Body):
    """Two ReLU layers on the flat image."""

    class Config(registry.Config):
        """Keys of ``mlp``."""

        width: int = Field(64, ge=1, description="units per layer")

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The layers."""
        from harness.learning.bodies import Dense

        return Dense(math.prod(image_shape), self.config.width, generator)
