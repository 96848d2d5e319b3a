"""ResNet-12, the body of most few-shot papers since 2018."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body

Maps = Annotated[int, Field(ge=1)]


@registry.bodies.register("resnet12")
class ResNet12(Body):
    """ResNet-12 of few-shot papers (Lee et al. 2019): 64-160-320-640 maps: 12.4 M weights.

    Four residual blocks of three 3 x 3 convolutions with batch norm and leaky ReLU 0.1, a 1 x 1
    shortcut, and 2 x 2 max pooling after each. Lee, Maji, Ravichandran & Soatto drop 0.1: single
    values after the first two blocks, squares of 5 x 5 after the last two (DropBlock, Ghiasi et al.
    2018). The mean over positions is the embedding, as in Tian et al. (2020).
    """

    smallest = 16

    class Config(registry.Config):
        """Keys of ``resnet12``."""

        widths: Annotated[list[Maps], Field(min_length=4, max_length=4)] = Field(
            [64, 160, 320, 640], description="maps of each block"
        )
        drop: float = Field(
            0.0, ge=0, lt=1, description="share of each block's output dropped in training"
        )

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The embedding has as many values as the last block has maps."""
        from harness.learning.residual import ChannelsLast, Residual, normed

        layers: list[nn.Module] = []
        n_in = image_shape[0]
        for block, width in enumerate(self.config.widths):
            branch = nn.Sequential(
                normed(n_in, width, 3, generator),
                nn.LeakyReLU(0.1),
                normed(width, width, 3, generator),
                nn.LeakyReLU(0.1),
                normed(width, width, 3, generator),
            )
            shortcut = normed(n_in, width, 1, generator)
            layers += [Residual(branch, shortcut, slope=0.1), nn.MaxPool2d(2)]
            layers += self._dropping(block)
            n_in = width
        return ChannelsLast(*layers)

    def _dropping(self, block: int) -> list[nn.Module]:
        from harness.learning.dropping import DropBlock

        if not self.config.drop:
            return []
        return [nn.Dropout(self.config.drop) if block < 2 else DropBlock(self.config.drop)]
