"""Rules that compute a perceptron's updates by hand, layer by layer."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from harness.lazy import F, torch
from harness.learning.optimisers import OptimiserName, ProximalOptimiser
from harness.learning.perceptron import in_turn
from harness.learning.supervised import SupervisedConfig, Tensors

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation

Layers = list["torch.Tensor"]


class HandwrittenRule:
    """A rule with its own gradients for a perceptron, which go through an optimiser.

    Args:
        tensors: The perceptron's, changed in place.
        config: Config of the learner.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
        optimiser: ``"adam"`` or ``"sgd"``.
        activation: Activation function of the hidden layers.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: SupervisedConfig,
        *,
        adapting: bool,
        optimiser: OptimiserName = "adam",
        activation: Activation = "relu",
    ) -> None:
        from harness.learning.nets import ACTIVATIONS

        self.parameters = in_turn(tensors)
        self.weights = self.parameters[::2]
        self.biases = self.parameters[1::2]
        self.activation = activation
        self.f = ACTIVATIONS[activation]
        self.rate_falls = not adapting
        lr = config.adapt_lr if adapting else config.lr
        self.optimiser = ProximalOptimiser(self.parameters, optimiser=optimiser, lr=lr)

    def run(self, x: torch.Tensor) -> tuple[Layers, torch.Tensor]:
        """The forward pass on flat images x (B, n).

        Returns:
            The input (B, in) of each layer, starting with x, and the logits (B, classes).
        """
        inputs = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            inputs.append(self.f(inputs[-1] @ weight + bias))
        logits = inputs[-1] @ self.weights[-1] + self.biases[-1]
        return inputs, logits

    def learn(self, inputs: Layers, errors: Layers, done: float) -> None:
        """Change every layer by the product of its input and its error.

        Args:
            inputs: Input of each layer, (B, in).
            errors: Error of each layer at its summed input, (B, units).
            done: Share of training that is over.
        """
        gradients = []
        for x, error in zip(inputs, errors, strict=True):
            gradients.append(x.T @ error)
            gradients.append(error.sum(0, keepdim=True))
        self.optimiser.step(gradients, self.rate(done))

    def slope(self, activity: torch.Tensor) -> torch.Tensor:
        """The derivative f' of the activation function, from its value."""
        if self.activation == "relu":
            return (activity > 0).to(activity.dtype)
        return 1 - activity.square()

    def rate(self, done: float) -> float:
        """Factor on the learning rate when the share ``done`` of training is over."""
        return 1 - done if self.rate_falls else 1.0


class LayerwiseRule(HandwrittenRule):
    """A rule that assigns each hidden layer an error, computed from the error of the output.

    A subclass defines ``errors``.
    """

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            inputs, logits = self.run(x.flatten(1))
            # Gradient of the mean cross-entropy by the logits.
            output = (torch.softmax(logits, 1) - F.one_hot(y, logits.shape[1])) / len(y)
            errors = [*self.errors(inputs, output), output]
            self.learn(inputs, errors, done)
            return F.cross_entropy(logits, y), logits

    @abstractmethod
    def errors(self, inputs: Layers, output: torch.Tensor) -> Layers:
        """The error of each hidden layer at its summed input, (B, units).

        Args:
            inputs: As ``run`` returns them; the activity of hidden layer i is ``inputs[i]``.
            output: Gradient of the mean cross-entropy by the logits, (B, classes).
        """
