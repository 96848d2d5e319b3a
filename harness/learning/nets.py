"""Networks, as plain functions of their parameters and as modules. Reached lazily: this file imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
}


def init_perceptron(
    sizes: Sequence[int], generator: torch.Generator, *, non_negative: bool = False
) -> list[torch.Tensor]:
    """``[weight (in, out), bias (1, out), ...]`` of a perceptron with layers of ``sizes``.

    Weights are normal with He's variance 2 / in; non-negative ones are uniform in [0, a] with that same variance.
    """
    parameters = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        if non_negative:
            weight = torch.rand(n_in, n_out, generator=generator) * math.sqrt(24 / n_in)
        else:
            weight = torch.randn(n_in, n_out, generator=generator) * math.sqrt(2 / n_in)
        parameters += [weight, torch.zeros(1, n_out)]
    return parameters


def perceptron(
    x: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    *,
    inhibited: bool = False,
    activation: str = "relu",
) -> torch.Tensor:
    """A perceptron without a non-linearity after its last layer.

    Args:
        x: (..., B, D).
        parameters: weights (..., in, out) and biases (..., 1, out) in turn; leading axes (episodes) as in ``x``.
        inhibited: subtract each layer's mean input, as a uniform, non-plastic inhibitory pool does: this is what lets
            weights of one sign compute a difference.
        activation: one of ``ACTIVATIONS``.

    Returns:
        (..., B, out).
    """
    last = len(parameters) - 2
    for i in range(0, len(parameters), 2):
        weight, bias = parameters[i], parameters[i + 1]
        if inhibited:  # mean_j (x W_j) = x mean_j W_j: the pool is folded into the weights
            weight, bias = (
                weight - weight.mean(-1, keepdim=True),
                bias - bias.mean(-1, keepdim=True),
            )
        x = x @ weight + bias
        x = x if i == last else ACTIVATIONS[activation](x)
    return x


def frozen(tensor: torch.Tensor) -> nn.Parameter:
    """A parameter that takes no gradient: attacks differentiate by the image alone."""
    return nn.Parameter(tensor.detach(), requires_grad=False)


class Perceptron(nn.Module):
    """``perceptron`` as a frozen module: images (B, C, H, W) to logits, or to the activity of its last layer.

    Args:
        parameters: as ``perceptron`` takes them.
        inhibited: see there.
        activity: end in the activation.
        activation: one of ``ACTIVATIONS``.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        *,
        inhibited: bool = False,
        activity: bool = False,
        activation: str = "relu",
    ):
        super().__init__()
        self.layers = nn.ParameterList(frozen(p) for p in parameters)
        self.inhibited, self.activity, self.activation = inhibited, activity, activation
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out = perceptron(
            images.flatten(1),
            list(self.layers),
            inhibited=self.inhibited,
            activation=self.activation,
        )
        return ACTIVATIONS[self.activation](out) if self.activity else out


class HeadOn(nn.Module):
    """A linear head behind an embedding: images (B, C, H, W) to logits (B, n_way).

    Args:
        body: images to embeddings (B, D).
        weight: (D, n_way).
        bias: (1, n_way).
        view: what the head sees of an embedding.
    """

    def __init__(
        self,
        body: nn.Module,
        weight: torch.Tensor,
        bias: torch.Tensor,
        view: Callable[[torch.Tensor], torch.Tensor] = lambda embeddings: embeddings,
    ):
        super().__init__()
        self.body, self.weight, self.bias, self.view = body, frozen(weight), frozen(bias), view
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.view(self.body(images)) @ self.weight + self.bias


class Behind(nn.Module):
    """A function behind an embedding: images (B, C, H, W) to ``function(embeddings, *tensors)``.

    Args:
        body: images to embeddings (B, D).
        function: embeddings and the tensors to logits (B, n_way).
        tensors: what the function knows of an episode, frozen.
    """

    def __init__(
        self, body: nn.Module, function: Callable[..., torch.Tensor], *tensors: torch.Tensor
    ):
        super().__init__()
        self.body, self.function, self.known = (
            body,
            function,
            nn.ParameterList(frozen(tensor) for tensor in tensors),
        )
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(self.body(images), *self.known)


class Function(nn.Module):
    """A function of images, tensors and switches as a frozen module in eval mode.

    Args:
        function: called with images, a dict of ``tensors``, and ``switches``.
    """

    def __init__(
        self, function: Callable[..., torch.Tensor], tensors: dict[str, torch.Tensor], **switches
    ):
        super().__init__()
        self.tensors = nn.ParameterDict({name: frozen(value) for name, value in tensors.items()})
        self.function, self.switches = function, switches
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(images, dict(self.tensors.items()), **self.switches)
