"""Direct difference target propagation, linear: targets come straight from the output, through feedback that is learned."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import torch
from harness.learning.layerwise import Layers, LayerwiseRule
from harness.learning.supervised import Hidden, PerceptronConfig, PerceptronLearner, Rule, Tensors
from harness.registry import learners


@learners.register("target-propagation")
class TargetPropagation(PerceptronLearner):
    """Direct difference target propagation with linear feedback, DDTP-linear (Meulemans et al. 2020), on a tanh perceptron.

    With a_L the logits and e the gradient of the cross-entropy by them, the output's target is a_L - s e. Every hidden layer i
    has linear feedback Q_i from there: its target differs from its activity by

        t_i - h_i = Q_i (a_L - s e) - Q_i a_L = -s Q_i e,        dW_i ~ f'_i (t_i - h_i) h_{i-1}^T.

    Q_i learns, at the same time, the difference reconstruction loss: activity h_i + sigma eps, with eps normal, moves the
    logits by d, and the loss is |Q_i d - sigma eps|^2 / sigma^2 + decay |Q_i|^2. Its minimum is a damped pseudo-inverse of
    the network above, so that targets are Gauss-Newton ones. A scale that all errors of a layer share is Adam's to set: s is 1.

    Published: 5 layers of 256 units, 100 epochs.
    """

    typical_training_s = 200.0

    class Config(PerceptronConfig):
        """Switches of ``target-propagation``."""

        hidden: Hidden = Field([256] * 5, description="units of each hidden layer")
        lr: float = Field(
            5e-4, gt=0, description="Adam's learning rate, forward; falls linearly to zero"
        )
        feedback_lr: float = Field(
            1e-3, gt=0, description="Adam's learning rate of the feedback, which stays as it is"
        )
        feedback_decay: float = Field(
            1e-4, ge=0, description="weight decay of the feedback, in its loss"
        )
        sigma: float = Field(
            0.1, gt=0, description="noise on the activity that feedback learns to reconstruct"
        )
        warmup: float = Field(
            0.02, ge=0, lt=1, description="share of training in which the feedback alone learns"
        )
        epochs: int = Field(30, ge=1, description="passes over the training set")
        batch_size: int = Field(100, ge=1, description="images in a training step")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )

    config: Config
    activation = "tanh"

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with Glorot's variance; biases of zero."""
        from harness.learning.supervised import in_turn, named

        parameters = in_turn(super().initial(n_out))
        return named(
            [
                p * (p.shape[0] / (p.shape[0] + p.shape[1])) ** 0.5 if i % 2 == 0 else p
                for i, p in enumerate(parameters)
            ]
        )

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule, with its feedback weights."""
        return DirectTargets(
            tensors,
            self.config,
            generator=self.rng.torch("feedback"),
            adapting=adapting,
            activation="tanh",
        )


class DirectTargets(LayerwiseRule):
    """The rule at work; ``generator`` draws the first feedback weights, and the noise."""

    def __init__(
        self,
        tensors: Tensors,
        config: TargetPropagation.Config,
        *,
        generator: torch.Generator,
        **switches,
    ):
        from harness.learning.optimisers import Descent

        super().__init__(tensors, config, **switches)
        self.config, self.generator = config, generator
        classes = self.weights[-1].shape[1]
        self.feedback = [
            self._normal(classes, w.shape[0]) * (2 / (classes + w.shape[0])) ** 0.5
            for w in self.weights[1:]
        ]
        self.feedback_descent = Descent(self.feedback, optimiser="adam", lr=config.feedback_lr)

    def _normal(self, *size: int) -> torch.Tensor:
        return torch.randn(size, generator=self.generator).to(self.weights[0].device)

    def errors(self, activities: Layers, output: torch.Tensor) -> Layers:
        """See ``LayerwiseRule``: minus the differences of targets, times the slope."""
        return [
            output @ back * self.slope(h)
            for back, h in zip(self.feedback, activities[1:], strict=True)
        ]

    def learn(self, activities: Layers, errors: Layers, done: float) -> None:
        """The feedback, then, once it has warmed up, the layers."""
        self._learn_feedback(activities)
        if done >= self.config.warmup or not self.fades:
            super().learn(activities, errors, done)

    def _learn_feedback(self, activities: Layers) -> None:
        sigma, gradients = self.config.sigma, []
        logits = activities[-1] @ self.weights[-1] + self.biases[-1]
        for i, back in enumerate(self.feedback, start=1):
            noise = self._normal(*activities[i].shape)
            moved = (self._above(activities[i] + sigma * noise, i) - logits) / sigma
            gradients.append(
                moved.T @ (moved @ back - noise) / len(noise) + self.config.feedback_decay * back
            )
        self.feedback_descent.step(gradients)

    def _above(self, h: torch.Tensor, i: int) -> torch.Tensor:
        """The logits from the activity of hidden layer ``i``."""
        for weight, bias in zip(self.weights[i:-1], self.biases[i:-1], strict=True):
            h = self.f(h @ weight + bias)
        return h @ self.weights[-1] + self.biases[-1]
