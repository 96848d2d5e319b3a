"""Perceptrons with convolutions in front, for rules that compute their updates by hand.

A convolution is padded, so that its map is as large as its input, and pooled by 2 after its
activation function. Its tensors have the shapes and names of ``harness.learning.convolved``; a
network without convolutions is the perceptron of ``harness.learning.perceptron``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

from harness.lazy import F, nn, torch
from harness.learning.convolved import LayerShape, layer_shapes, synapses_of
from harness.learning.layerwise import HandwrittenRule, Layers
from harness.learning.learner import Synapses
from harness.learning.perceptron import PerceptronConfig, PerceptronLearner, in_turn, layer_sizes
from harness.learning.supervised import Tensors
from harness.registry import Config

POOLED = 2
"""Side of the squares that are pooled, and places between them."""


class ConvolutionKeys(Config):
    """Keys of the convolutions."""

    channels: list[Annotated[int, Field(ge=1)]] = Field(
        default=[],
        description="channels of each convolution, every one followed by max pooling by 2",
    )
    kernel: int = Field(3, ge=1, description="side of a convolution's filters, odd")

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("kernel must be odd, so that a place is in the middle")
        return kernel


class ConvolutionalConfig(ConvolutionKeys, PerceptronConfig):
    """Keys of a perceptron that may have convolutions in front."""


def shapes(
    image_shape: tuple[int, int, int], config: ConvolutionalConfig, n_out: int
) -> list[LayerShape]:
    """The layers from the image to the output.

    Raises:
        HarnessError: The image is too small for the pooling.
    """
    return with_kernel(
        layer_shapes(image_shape, config.channels, layer_sizes(config.hidden), n_out),
        config.kernel,
    )


def with_kernel(layers: Sequence[LayerShape], kernel: int) -> list[LayerShape]:
    """Layers whose convolutions have filters of another side.

    >>> [layer.weight for layer in with_kernel(layer_shapes((3, 8, 8), [4], [], 10), 5)]
    [(4, 3, 5, 5), (64, 10)]
    """
    changed = []
    for layer in layers:
        if len(layer.weight) == 4:
            n_out, n_in = layer.weight[:2]
            layer = LayerShape((n_out, n_in, kernel, kernel), layer.bias, n_in * kernel**2)
        changed.append(layer)
    return changed


def drive(
    below: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """The summed input of a layer.

    Args:
        below: Its input, (B, c, H, W) or (B, in).
        weight: (C, c, k, k) or (in, out).
        bias: (C,) or (1, out).

    Returns:
        (B, C, H, W) or (B, out).
    """
    if weight.ndim == 4:
        return F.conv2d(below, weight, bias, padding=weight.shape[-1] // 2)
    product = below @ weight
    return product if bias is None else product + bias


def weight_gradient(below: torch.Tensor, weight: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """The gradient of ``(drive(below, weight) * error).sum()`` by the weights.

    Of a filter, that is the sum over images and places of its patch times the error there.
    """
    if weight.ndim == 4:
        from torch.nn.grad import conv2d_weight

        padding = weight.shape[-1] // 2
        gradient: torch.Tensor = conv2d_weight(below, weight.shape, error, padding=padding)
        return gradient
    return below.T @ error


def bias_gradient(error: torch.Tensor) -> torch.Tensor:
    """The same by the biases, (C,) or (1, out)."""
    return error.sum((0, 2, 3)) if error.ndim == 4 else error.sum(0, keepdim=True)


def pooled(h: torch.Tensor) -> torch.Tensor:
    """What the layer above reads of an activity (B, C, H, W) or (B, units)."""
    return F.max_pool2d(h, POOLED) if h.ndim == 4 else h


@dataclass(frozen=True)
class Pass:
    """A forward pass.

    Attributes:
        inputs: Input of each layer, the images first; the output's too.
        activities: Activity of each hidden layer, before it is pooled.
        logits: Drive of the output, (B, classes).
    """

    inputs: Layers
    activities: Layers
    logits: torch.Tensor


def forward(
    images: torch.Tensor,
    parameters: Layers,
    f: Callable[[torch.Tensor], torch.Tensor],
    masks: Layers | None = None,
) -> Pass:
    """Run convolutions and then dense layers.

    Args:
        images: (B, C, H, W).
        parameters: ``[weight, bias, ...]``.
        f: Activation function of the hidden layers.
        masks: Factors on the activity of each hidden layer.
    """
    inputs: Layers = []
    activities: Layers = []
    below = images
    last = len(parameters) // 2 - 1
    for i, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        if weight.ndim == 2:
            below = below.flatten(1)
        inputs.append(below)
        z = drive(below, weight, bias)
        if i < last:
            h = f(z) if masks is None else f(z) * masks[i]
            activities.append(h)
            below = pooled(h)
    return Pass(inputs, activities, z)


class ConvolutionalLearner(PerceptronLearner):
    """A perceptron that may have convolutions in front; a subclass defines its ``rule``."""

    config: ConvolutionalConfig

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with He's variance, biases of zero."""
        from harness.learning.nets import he_weights

        generator = self.rng.torch("initial weights")
        tensors: Tensors = {}
        for i, layer in enumerate(shapes(self.image_shape, self.config, n_out)):
            tensors[f"weight{i}"] = he_weights(
                *layer.weight, fan_in=layer.fan_in, generator=generator
            )
            tensors[f"bias{i}"] = torch.zeros(layer.bias)
        return tensors

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The forward pass."""
        from harness.learning.nets import FrozenFunction

        function = _last_activity if activity else _answer
        return FrozenFunction(function, tensors, activation=self.activation)

    def connectome(self) -> list[Synapses]:
        """One bundle per layer."""
        return synapses_of(self.tensors)

    def activity_shapes(self, tensors: Tensors) -> list[torch.Size]:
        """Shape of each hidden layer's activity for one image, before it is pooled."""
        parameters = in_turn(tensors)
        blank = torch.zeros(1, *self.image_shape, device=parameters[0].device)
        return [h.shape[1:] for h in forward(blank, parameters, F.relu).activities]


class ConvolutionalRule(HandwrittenRule):
    """A rule with its own gradients for a perceptron that may have convolutions in front."""

    biased = True
    """Whether biases learn; otherwise they stay zero."""

    def forward(self, images: torch.Tensor, masks: Layers | None = None) -> Pass:
        """The forward pass on images (B, C, H, W)."""
        return forward(images, self.parameters, self.f, masks)

    def learn(self, inputs: Layers, errors: Sequence[torch.Tensor | None], done: float) -> None:
        """Change every layer by the product of its input and its error, summed over places.

        Args:
            inputs: Input of each layer.
            errors: Error of each layer at its drive, of the drive's shape; None leaves the layer as
                it is.
            done: Share of training that is over.
        """
        gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        for i, (below, weight, error) in enumerate(zip(inputs, self.weights, errors, strict=True)):
            if error is None:
                continue
            gradients[2 * i] = weight_gradient(below, weight, error)
            if self.biased:
                gradients[2 * i + 1] = bias_gradient(error)
        self.optimiser.step(gradients, self.rate(done))


def _answer(images: torch.Tensor, tensors: Tensors, activation: str) -> torch.Tensor:
    return _passed(images, tensors, activation).logits


def _last_activity(images: torch.Tensor, tensors: Tensors, activation: str) -> torch.Tensor:
    return _passed(images, tensors, activation).inputs[-1]


def _passed(images: torch.Tensor, tensors: Tensors, activation: str) -> Pass:
    from harness.learning.nets import ACTIVATIONS

    return forward(images, in_turn(tensors), ACTIVATIONS[activation])
