"""ViT-Tiny: a small vision transformer."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("vit-tiny")
class VitTiny(Body):
    """Vision transformer of 12 blocks, 192 wide, with 3 heads (Touvron et al. 2021): 5.4 M weights.

    Dosovitskiy et al. (2021), with a class token and learned positions. Patches are 4 x 4 instead
    of 16 x 16, because the images are small.
    """

    class Config(registry.Config):
        """Keys of ``vit-tiny``."""

        patch: int = Field(4, ge=1, description="side of a patch; must divide that of the images")
        depth: int = Field(12, ge=1, description="blocks")

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The embedding is the class token's, 192 values."""
        from harness.learning.transformer import VisionTransformer

        _, height, width = image_shape
        patch = self.config.patch
        if height % patch or width % patch:
            raise HarnessError(
                f"patches of {patch} x {patch} do not tile images of {height} x {width}",
                hint="set `patch` to a divisor of both sides: body: {name: vit-tiny, patch: 7}",
            )
        return VisionTransformer(image_shape, patch, 192, self.config.depth, 3, generator)
