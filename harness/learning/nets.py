"""How does a perceptron compute, and how does a network become a frozen classifier module?

This file defines ``nn.Module`` classes, so it imports torch and must be imported lazily.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.going_on import UNKNOWN

Activation = Literal["relu", "tanh", "gelu", "leaky-relu", "hard-tanh", "linear"]

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "leaky-relu": F.leaky_relu,
    "hard-tanh": F.hardtanh,
    "linear": lambda z: z,
}


def he_weights(
    *shape: int, fan_in: int, generator: torch.Generator, non_negative: bool = False
) -> torch.Tensor:
    """Weights with He's variance 2 / fan_in: normal, or uniform in [0, a] if non-negative."""
    if non_negative:
        # The variance of U(0, a) is a^2 / 12.
        return torch.rand(shape, generator=generator) * math.sqrt(24 / fan_in)
    return torch.randn(shape, generator=generator) * math.sqrt(2 / fan_in)


def init_perceptron(
    sizes: Sequence[int], generator: torch.Generator, *, non_negative: bool = False
) -> list[torch.Tensor]:
    """Initial parameters of a perceptron: weights by ``he_weights``, biases of zero.

    Args:
        sizes: Units of each layer, from input to output.
        generator: Draws the weights.
        non_negative: Whether weights are of one sign.

    Returns:
        ``[weight (in, out), bias (1, out), ...]``.
    """
    parameters = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        weight = he_weights(
            n_in, n_out, fan_in=n_in, generator=generator, non_negative=non_negative
        )
        parameters += [weight, torch.zeros(1, n_out)]
    return parameters


def perceptron(
    x: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    *,
    inhibited: bool = False,
    activation: Activation = "relu",
) -> torch.Tensor:
    """A perceptron without an activation function after its last layer.

    Args:
        x: (..., B, D).
        parameters: Weights (..., in, out) and biases (..., 1, out) in turn; leading axes
            (episodes) as in ``x``.
        inhibited: Subtract each layer's mean input, as a uniform, non-plastic inhibitory pool
            does. With it, weights of one sign can compute a difference.
        activation: Of the hidden layers.

    Returns:
        (..., B, out).
    """
    last = len(parameters) - 2
    for i in range(0, len(parameters), 2):
        weight = parameters[i]
        bias = parameters[i + 1]
        if inhibited:
            weight = with_pool(weight)
            bias = with_pool(bias)
        x = x @ weight + bias
        if i != last:
            x = ACTIVATIONS[activation](x)
    return x


def with_pool(parameter: torch.Tensor) -> torch.Tensor:
    """Fold a layer's uniform inhibitory pool into its weights (..., in, out) or biases.

    mean_j (x W_j) = x mean_j W_j.
    """
    return parameter - parameter.mean(-1, keepdim=True)


def frozen(tensor: torch.Tensor) -> nn.Parameter:
    """A parameter that takes no gradient: attacks differentiate by the image alone."""
    return nn.Parameter(tensor.detach(), requires_grad=False)


class Perceptron(nn.Module):
    """``perceptron`` as a frozen module on images (B, C, H, W).

    Args:
        parameters: As ``perceptron`` takes them.
        inhibited: As ``perceptron`` takes it.
        activity: Whether the last layer ends in the activation function.
        activation: Name of the activation function.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        *,
        inhibited: bool = False,
        activity: bool = False,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.layers = nn.ParameterList(frozen(p) for p in parameters)
        self.inhibited = inhibited
        self.activity = activity
        self.activation = activation
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes), or the activity (B, units) of the last layer."""
        out = perceptron(
            images.flatten(1),
            list(self.layers),
            inhibited=self.inhibited,
            activation=self.activation,
        )
        if self.activity:
            return ACTIVATIONS[self.activation](out)
        return out


class LinearHead(nn.Module):
    """A frozen linear classifier on top of an embedding.

    Args:
        body: Images to embeddings (B, D).
        weight: (D, n_way).
        bias: (1, n_way).
        view: What the head reads of an embedding.
    """

    def __init__(
        self,
        body: nn.Module,
        weight: torch.Tensor,
        bias: torch.Tensor,
        view: Callable[[torch.Tensor], torch.Tensor] = lambda embeddings: embeddings,
    ) -> None:
        super().__init__()
        self.body = body
        self.weight = frozen(weight)
        self.bias = frozen(bias)
        self.view = view
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to logits (B, n_way)."""
        return self.view(self.body(images)) @ self.weight + self.bias


class FunctionHead(nn.Module):
    """A classifier function on top of an embedding: ``function(embeddings, *tensors)``.

    Args:
        body: Images to embeddings (B, D).
        function: Embeddings and the tensors to logits (B, n_way).
        tensors: What the function has learned of an episode; frozen.
    """

    def __init__(
        self, body: nn.Module, function: Callable[..., torch.Tensor], *tensors: torch.Tensor
    ) -> None:
        super().__init__()
        self.body = body
        self.function = function
        self.tensors = nn.ParameterList(frozen(tensor) for tensor in tensors)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to logits (B, n_way)."""
        return self.function(self.body(images), *self.tensors)


class FrozenFunction(nn.Module):
    """A function of images and a dict of tensors, as a frozen module in eval mode.

    Args:
        function: Called as ``function(images, tensors, **switches)``.
        tensors: Its parameters, by name.
        switches: Further keyword arguments.
    """

    def __init__(
        self,
        function: Callable[..., torch.Tensor],
        tensors: dict[str, torch.Tensor],
        **switches: Any,
    ) -> None:
        super().__init__()
        self.tensors = nn.ParameterDict({name: frozen(value) for name, value in tensors.items()})
        self.function = function
        self.switches = switches
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The function's value for images (B, C, H, W)."""
        return self.function(images, dict(self.tensors.items()), **self.switches)


class AmongKnown(nn.Module):
    """A classifier of some classes, as one of all: the others are never predicted.

    Args:
        model: Images to logits of the known classes.
        known: int64 (k,), which classes they are.
        n_classes: Number of all classes.
    """

    def __init__(self, model: nn.Module, known: torch.Tensor, n_classes: int) -> None:
        super().__init__()
        self.model = model
        self.n_classes = n_classes
        self.known: torch.Tensor
        self.register_buffer("known", known)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, n_classes)."""
        logits: torch.Tensor = self.model(images)
        among = logits.new_full((len(logits), self.n_classes), UNKNOWN)
        return among.index_copy(1, self.known, logits)
