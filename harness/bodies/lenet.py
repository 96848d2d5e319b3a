"""LeNet, in the sizes that Madry et al. (2018) gave it."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body


@registry.bodies.register("lenet")
class LeNet(Body):
    """Two blocks of 5 x 5 filters and pooling, then a dense layer (LeCun et al. 1998).

    With 32 and 64 filters and 1,024 units it is the network that Madry et al. (2018) train on
    MNIST; LeCun et al. had 6, 16 and 120.
    """

    smallest = 4

    class Config(registry.Config):
        """Keys of ``lenet``."""

        filters: int = Field(
            32, ge=1, description="filters of the first block; the second has twice as many"
        )
        units: int = Field(1024, ge=1, description="units of the dense layer")

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """ReLU after every layer; the embedding is the activity of the dense layer."""
        channels, height, width = image_shape
        filters = self.config.filters
        layers: list[nn.Module] = []
        for n_out in (filters, 2 * filters):
            layers += [nn.Conv2d(channels, n_out, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()]
            channels = n_out
        places = (height // 4) * (width // 4)
        layers += [nn.Flatten(), nn.Linear(channels * places, self.config.units), nn.ReLU()]
        network = nn.Sequential(*layers)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)
        return network
