"""Convolutions, each pooled, and dense layers: the network of rules that have `channels`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness import registry
from harness.lazy import nn, torch
from harness.learning.body import Body
from harness.learning.convolutional import POOLED, ConvolutionKeys
from harness.learning.convolved import layer_shapes


@registry.bodies.register("convolutions")
class Convolutions(Body):
    """Padded convolutions, each pooled by 2, and then dense layers, without normalisation.

    With a linear layer on it, it is the network of `pepita`, `drtp`, `mono-forward` and
    `predictive-coding` with the same keys, for backpropagation.
    """

    class Config(ConvolutionKeys):
        """Keys of ``convolutions``."""

        channels: list[Annotated[int, Field(ge=1)]] = Field(
            default=[32, 64],
            min_length=1,
            description="channels of each convolution, every one followed by max pooling by 2",
        )
        hidden: list[Annotated[int, Field(ge=1)]] = Field(
            default=[], description="units of each dense layer after the convolutions"
        )
        activation: Literal["relu", "tanh"] = Field("relu", description="activation function")

    config: Config

    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """The embedding is the pooled map, or the activity of the last dense layer.

        Raises:
            HarnessError: The image is too small for the pooling.
        """
        config = self.config
        activation = nn.ReLU if config.activation == "relu" else nn.Tanh
        layers: list[nn.Module] = []
        n_in = image_shape[0]
        for n_out in config.channels:
            layers.append(nn.Conv2d(n_in, n_out, config.kernel, padding=config.kernel // 2))
            layers += [activation(), nn.MaxPool2d(POOLED)]
            n_in = n_out
        layers.append(nn.Flatten())
        n_in = layer_shapes(image_shape, config.channels, [], n_out=1)[-1].fan_in
        for units in config.hidden:
            layers += [nn.Linear(n_in, units), activation()]
            n_in = units
        network = nn.Sequential(*layers)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)
        return network
