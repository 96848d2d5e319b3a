"""Conv4: the four convolution blocks of most few-shot papers."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("conv4")
class Conv4(Body):
    """Four 3 x 3 blocks with batch norm and pooling (Vinyals et al. 2016): 0.11 M weights."""

    class Config(registry.Config):
        """Keys of ``conv4``."""

        width: int = Field(64, ge=1, description="filters per block")
        pools: int = Field(4, ge=0, le=4, description="blocks that pool, counted from the first")

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """Maps of 28 x 28 images end as one pixel; smaller ones skip the last poolings."""
        from harness.learning import bodies

        config = self.config
        return bodies.Conv4(image_shape[0], config.width, generator, pools=config.pools)
