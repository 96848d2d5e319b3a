"""Rules that compute a perceptron's updates by hand, layer by layer. Reached lazily: this file imports torch."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F

from harness.nets import ACTIVATIONS
from harness.optimisers import Descent, OptimiserName
from harness.supervised import SupervisedConfig, Tensors, in_turn

Layers = list[torch.Tensor]


class LayerwiseRule:
    """A rule that gives every layer an error at its summed input, and changes its weights by presynaptic activity times it.

    A subclass gives ``errors``.

    Args:
        tensors: of the perceptron, changed in place.
        config: of the learner.
        optimiser: what the products of activity and error go through.
        activation: of the hidden layers.
        adapting: steps of ``adapt_lr`` that stay as they are, in place of a rate that falls.
    """

    def __init__(self, tensors: Tensors, config: SupervisedConfig, *, optimiser: OptimiserName, activation: str, adapting: bool):
        self.parameters, self.activation, self.fades = in_turn(tensors), activation, not adapting
        self.descent = Descent(self.parameters, optimiser=optimiser, lr=config.adapt_lr if adapting else config.lr)

    @torch.no_grad()
    def step(self, x: torch.Tensor, y: torch.Tensor, done: float) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.supervised.Rule``."""
        activities, logits = self.run(x.flatten(1))
        output = (torch.softmax(logits, 1) - F.one_hot(y, logits.shape[1])) / len(y)
        errors = [*self.errors(activities, output), output]
        gradients = []
        for before, error in zip(activities, errors, strict=True):
            gradients += [before.T @ error, error.sum(0, keepdim=True)]
        self.descent.step(gradients, 1 - done if self.fades else 1.0)
        return F.cross_entropy(logits, y), logits

    def run(self, x: torch.Tensor) -> tuple[Layers, torch.Tensor]:
        """What each layer reads, the image first, (B, in); and the logits."""
        activities, weights, biases = [x], self.parameters[::2], self.parameters[1::2]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            activities.append(ACTIVATIONS[self.activation](activities[-1] @ weight + bias))
        return activities, activities[-1] @ weights[-1] + biases[-1]

    def slope(self, activity: torch.Tensor) -> torch.Tensor:
        """The activation's derivative, by what it gave."""
        return (activity > 0).to(activity.dtype) if self.activation == "relu" else 1 - activity.square()

    @abstractmethod
    def errors(self, activities: Layers, output: torch.Tensor) -> Layers:
        """The error of each hidden layer at its summed input, (B, units).

        Args:
            activities: as ``run`` gives them.
            output: the gradient of the mean cross-entropy by the logits, (B, classes).
        """
