"""Error feedback through weights that are not the forward ones. Reached lazily: this file imports torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from harness.layerwise import Layers, LayerwiseRule
from harness.nets import ACTIVATIONS

Feedback = Literal["layered", "direct", "sign"]


class Alignment(LayerwiseRule):
    """Feedback alignment, direct or layered, or sign symmetry: see ``baselines.feedback_alignment`` for the equations.

    Args:
        feedback: which.
        generator: of fixed feedback weights, normal with variance 1 / (units that send the error).
        switches: as ``LayerwiseRule`` takes them.
    """

    def __init__(self, *args, feedback: Feedback, generator: torch.Generator, **switches):
        super().__init__(*args, **switches)
        self.feedback = feedback
        self.fixed = [] if feedback == "sign" else feedback_weights(self.parameters[::2], feedback, generator)

    def errors(self, activities: Layers, output: torch.Tensor) -> Layers:
        """See ``LayerwiseRule``."""
        found, error = [], output
        for i in reversed(range(1, len(activities))):
            source = output if self.feedback == "direct" else error
            error = source @ self.down(i) * self.slope(activities[i])
            found.append(error)
        return found[::-1]

    def down(self, i: int) -> torch.Tensor:
        """The weights (units that send, units of hidden layer ``i``) that bring the error to that layer."""
        if self.feedback != "sign":
            return self.fixed[i - 1]
        weight = self.parameters[2 * i]
        return weight.T.sign() * math.sqrt(2 / sum(weight.shape))


def feedback_weights(weights: Sequence[torch.Tensor], feedback: Feedback, generator: torch.Generator) -> list[torch.Tensor]:
    """The fixed weights into each hidden layer, (senders, units): from the next layer, or from the output."""
    classes = weights[-1].shape[1]
    sizes = [(classes if feedback == "direct" else weight.shape[1], weight.shape[0]) for weight in weights[1:]]
    return [(torch.randn(size, generator=generator) / math.sqrt(size[0])).to(weights[0].device) for size in sizes]


class FeedbackPath(nn.Module):
    """The forward network, but with gradients that come down through feedback weights: **not** what to attack with.

    It is here to show how wrong an attack through it is.

    Args:
        parameters: ``[weight, bias, ...]`` of a perceptron.
        feedback: (senders, units) of each hidden layer, as ``feedback_weights`` draws them for ``layered``.
        activation: of the hidden layers.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], feedback: Sequence[torch.Tensor], activation: str = "relu"):
        super().__init__()
        self.parameters_, self.feedback, self.activation = list(parameters), list(feedback), activation
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x, weights, biases = images.flatten(1), self.parameters_[::2], self.parameters_[1::2]
        x = ACTIVATIONS[self.activation](x @ weights[0] + biases[0])
        for weight, bias, back in zip(weights[1:], biases[1:], self.feedback, strict=True):
            # value of x W, gradient by x of x B^T
            sent = x @ back.T
            x = sent + (x @ weight - sent).detach() + bias
            x = x if weight is weights[-1] else ACTIVATIONS[self.activation](x)
        return x
