"""Learners whose network is a perceptron, and the names of its tensors in their state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import SupervisedConfig, SupervisedLearner, Tensors

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation

Hidden = Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]]
"""Units of the hidden layer, or of each hidden layer."""


def layer_sizes(hidden: int | list[int]) -> list[int]:
    """Units of each hidden layer.

    >>> layer_sizes(100), layer_sizes([60, 30])
    ([100], [60, 30])
    """
    return [hidden] if isinstance(hidden, int) else list(hidden)


class PerceptronConfig(SupervisedConfig):
    """Keys of every learner whose network is a perceptron."""

    hidden: Hidden = Field(
        1000, description="units in the hidden layer, or a list with one entry per layer"
    )


class PerceptronLearner(SupervisedLearner):
    """A perceptron with tensors ``weight0`` (in, out), ``bias0`` (1, out), ``weight1``, ...

    A subclass defines its ``rule``.
    """

    config: PerceptronConfig

    @property
    def activation(self) -> Activation:
        """Activation function of the hidden layers."""
        return "relu"

    @property
    def inhibited(self) -> bool:
        """Whether each layer has a uniform inhibitory pool."""
        return False

    @property
    def sizes(self) -> list[int]:
        """Units of each layer, from the pixels to the last hidden layer."""
        return [math.prod(self.image_shape), *layer_sizes(self.config.hidden)]

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with He's variance, biases of zero."""
        from harness.learning.nets import init_perceptron

        return named(init_perceptron([*self.sizes, n_out], self.rng.torch("initial weights")))

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The perceptron, with its inhibitory pools if it has them."""
        from harness.learning.nets import Perceptron

        parameters = in_turn(tensors)
        return Perceptron(
            parameters[:-2] if activity else parameters,
            inhibited=self.inhibited,
            activity=activity,
            activation=self.activation,
        )

    def connectome(self) -> list[Synapses]:
        """One bundle per layer."""
        weights = in_turn(self.tensors)[::2]
        names = bundle_names(len(weights))
        return [self.synapses(name, weight) for name, weight in zip(names, weights, strict=True)]

    def synapses(
        self, name: str, weight: torch.Tensor, *, presynaptic_sign: bool = True
    ) -> Synapses:
        """The bundle of a layer's weights (pre, post)."""
        return Synapses(name, weight, presynaptic_sign=presynaptic_sign)


def named(parameters: list[torch.Tensor]) -> Tensors:
    """Give ``[weight, bias, ...]`` the names that they have in a perceptron's state.

    >>> list(named([0, 0, 0, 0]))
    ['weight0', 'bias0', 'weight1', 'bias1']
    """
    names = [f"{kind}{i}" for i in range(len(parameters) // 2) for kind in ("weight", "bias")]
    return dict(zip(names, parameters, strict=True))


def in_turn(tensors: Tensors) -> list[torch.Tensor]:
    """The inverse of ``named``: ``[weight0, bias0, weight1, ...]`` from a perceptron's state."""
    layers = sum(name.startswith("weight") for name in tensors)
    return [tensors[f"{kind}{i}"] for i in range(layers) for kind in ("weight", "bias")]


def bundle_names(layers: int) -> list[str]:
    """Names of the bundles of a perceptron.

    >>> bundle_names(3)
    ['input->hidden1', 'hidden1->hidden2', 'hidden2->output']
    """
    names = ["input", *(f"hidden{i + 1}" for i in range(layers - 1)), "output"]
    return [f"{pre}->{post}" for pre, post in zip(names[:-1], names[1:], strict=True)]
