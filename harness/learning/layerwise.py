"""What rules share that compute a perceptron's updates by hand, layer by layer."""

from __future__ import annotations

from abc import abstractmethod

from harness.lazy import F, torch
from harness.learning.supervised import SupervisedConfig, Tensors, in_turn

Layers = list["torch.Tensor"]


class LayerwiseRule:
    """A rule that gives every layer an error at its summed input, and changes its weights by presynaptic activity times it.

    A subclass gives ``errors``, or ``step`` where it has more to do.

    Args:
        tensors: of the perceptron, changed in place.
        config: of the learner.
        optimiser: what the products of activity and error go through, ``"adam"`` or ``"sgd"``.
        activation: of the hidden layers.
        adapting: steps of ``adapt_lr`` that stay as they are, in place of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: SupervisedConfig,
        *,
        adapting: bool,
        optimiser: str = "adam",
        activation: str = "relu",
    ):
        from harness.learning.nets import ACTIVATIONS
        from harness.learning.optimisers import Descent

        self.parameters, self.activation, self.fades = in_turn(tensors), activation, not adapting
        self.weights, self.biases = self.parameters[::2], self.parameters[1::2]
        self.f = ACTIVATIONS[activation]
        self.descent = Descent(
            self.parameters, optimiser=optimiser, lr=config.adapt_lr if adapting else config.lr
        )

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            activities, logits = self.run(x.flatten(1))
            output = (torch.softmax(logits, 1) - F.one_hot(y, logits.shape[1])) / len(y)
            self.learn(activities, [*self.errors(activities, output), output], done)
            return F.cross_entropy(logits, y), logits

    def run(self, x: torch.Tensor) -> tuple[Layers, torch.Tensor]:
        """What each layer reads, the image first, (B, in); and the logits."""
        activities = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            activities.append(self.f(activities[-1] @ weight + bias))
        return activities, activities[-1] @ self.weights[-1] + self.biases[-1]

    def learn(self, activities: Layers, errors: Layers, done: float) -> None:
        """Change every layer by the product of what it reads and its error."""
        gradients = []
        for before, error in zip(activities, errors, strict=True):
            gradients += [before.T @ error, error.sum(0, keepdim=True)]
        self.descent.step(gradients, self.rate(done))

    def rate(self, done: float) -> float:
        """Share of the learning rate that is left."""
        return 1 - done if self.fades else 1.0

    def slope(self, activity: torch.Tensor) -> torch.Tensor:
        """The activation's derivative, by what it gave."""
        return (
            (activity > 0).to(activity.dtype)
            if self.activation == "relu"
            else 1 - activity.square()
        )

    @abstractmethod
    def errors(self, activities: Layers, output: torch.Tensor) -> Layers:
        """The error of each hidden layer at its summed input, (B, units).

        Args:
            activities: as ``run`` gives them.
            output: the gradient of the mean cross-entropy by the logits, (B, classes).
        """
