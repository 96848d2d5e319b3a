"""Direct difference target propagation: learned feedback sets targets from the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.lazy import torch
from harness.learning.layerwise import Layers, LayerwiseRule
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.perceptron import (
    Hidden,
    PerceptronConfig,
    PerceptronLearner,
    in_turn,
    named,
)
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation


@learners.register("target-propagation", family="error signals")
class TargetPropagation(PerceptronLearner):
    """Direct difference target propagation, DDTP-linear (Meulemans et al. 2020).

    On a tanh perceptron, with a_L the logits and e the gradient of the cross-entropy by them, the
    output's target is a_L - s e. Every hidden layer i has linear feedback Q_i from there, so that
    its target differs from its activity by

        t_i - h_i = Q_i (a_L - s e) - Q_i a_L = -s Q_i e,        dW_i ~ f'_i (t_i - h_i) h_{i-1}^T.

    Q_i learns, at the same time, by the difference reconstruction loss. Activity h_i + sigma eps,
    with eps normal, moves the logits by d, and the loss is
    |Q_i d - sigma eps|^2 / sigma^2 + decay |Q_i|^2. Its minimum is a damped pseudo-inverse of the
    network above, so that targets are those of Gauss-Newton. Adam normalises any scale that all
    errors of a layer share, so s is 1.

    Published: 5 layers of 256 units, 100 epochs.
    """

    typical_training_s = 200.0

    class Config(PerceptronConfig):
        """Keys of ``target-propagation``."""

        hidden: Hidden = Field([256] * 5, description="units of each hidden layer")
        lr: float = Field(
            5e-4, gt=0, description="Adam's learning rate, forward; falls linearly to zero"
        )
        feedback_lr: float = Field(
            1e-3, gt=0, description="Adam's learning rate of the feedback, which stays constant"
        )
        feedback_decay: float = Field(
            1e-4, ge=0, description="weight decay of the feedback, in its loss"
        )
        sigma: float = Field(
            0.1, gt=0, description="noise on the activity that feedback learns to reconstruct"
        )
        warmup: float = Field(
            0.02, ge=0, lt=1, description="share of training in which the feedback learns alone"
        )
        epochs: int = Field(30, ge=1, description="passes over the training set")
        batch_size: int = Field(100, ge=1, description="images per training step")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )

    config: Config

    @property
    def activation(self) -> Activation:
        """Activation function of the hidden layers."""
        return "tanh"

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with Glorot's variance; biases of zero."""
        parameters = in_turn(super().initial(n_out))
        for i in range(0, len(parameters), 2):
            fan_in, fan_out = parameters[i].shape
            # From He's variance 2 / fan_in to Glorot's 2 / (fan_in + fan_out).
            parameters[i] = parameters[i] * (fan_in / (fan_in + fan_out)) ** 0.5
        return named(parameters)

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule, with its feedback weights."""
        return DirectTargets(tensors, self.config, self.rng.torch("feedback"), adapting=adapting)


class DirectTargets(LayerwiseRule):
    """The rule, training one network.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        generator: Draws the initial feedback weights, and the noise.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: TargetPropagation.Config,
        generator: torch.Generator,
        *,
        adapting: bool,
    ) -> None:
        super().__init__(tensors, config, adapting=adapting, activation="tanh")
        self.sigma = config.sigma
        self.feedback_decay = config.feedback_decay
        self.warmup = config.warmup
        self.generator = generator
        classes = self.weights[-1].shape[1]
        self.feedback = []
        for weight in self.weights[1:]:
            units = weight.shape[0]
            glorot = (2 / (classes + units)) ** 0.5
            self.feedback.append(self._normal(classes, units) * glorot)
        self.feedback_optimiser = ProximalOptimiser(
            self.feedback, optimiser="adam", lr=config.feedback_lr
        )

    def _normal(self, *size: int) -> torch.Tensor:
        return torch.randn(size, generator=self.generator).to(self.weights[0].device)

    def errors(self, inputs: Layers, output: torch.Tensor) -> Layers:
        """Minus (t_i - h_i) f'_i for each hidden layer, see ``LayerwiseRule``."""
        return [
            output @ back * self.slope(h) for back, h in zip(self.feedback, inputs[1:], strict=True)
        ]

    def learn(self, inputs: Layers, errors: Layers, done: float) -> None:
        """Train the feedback and, once it has warmed up, the layers."""
        self.learn_feedback(inputs)
        if done >= self.warmup or not self.rate_falls:
            super().learn(inputs, errors, done)

    def learn_feedback(self, inputs: Layers) -> None:
        """Take one step on the difference reconstruction loss of every Q_i."""
        logits = inputs[-1] @ self.weights[-1] + self.biases[-1]
        gradients = []
        for i, back in enumerate(self.feedback, start=1):
            eps = self._normal(*inputs[i].shape)
            perturbed = self._logits_from(inputs[i] + self.sigma * eps, i)
            d = (perturbed - logits) / self.sigma
            reconstruction = d.T @ (d @ back - eps) / len(eps)
            gradients.append(reconstruction + self.feedback_decay * back)
        self.feedback_optimiser.step(gradients)

    def _logits_from(self, h: torch.Tensor, i: int) -> torch.Tensor:
        """The logits from the activity of hidden layer ``i``."""
        for weight, bias in zip(self.weights[i:-1], self.biases[i:-1], strict=True):
            h = self.f(h @ weight + bias)
        return h @ self.weights[-1] + self.biases[-1]
