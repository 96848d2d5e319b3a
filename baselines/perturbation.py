"""Learning by trial: weight perturbation and node perturbation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.layerwise import Layers, LayerwiseRule
from harness.learning.supervised import Hidden, PerceptronConfig, PerceptronLearner, Rule, Tensors
from harness.registry import learners


@learners.register("perturbation")
class Perturbation(PerceptronLearner):
    """Weight perturbation or node perturbation on a ReLU perceptron: a trial's change of the loss, times the trial.

    With xi normal and L the cross-entropy, in antithetic pairs:

    - ``weights`` (Jabri & Flower 1992; Cauwenberghs 1993): dw ~ -(L(w + s xi) - L(w - s xi)) xi / 2 s, one xi for the batch,
      L its mean;
    - ``nodes`` (Williams 1992; Werfel, Xie & Seung 2005): noise on every unit's summed input, output included, of every image
      for itself: a unit's error is (L(a + s xi) - L(a - s xi)) xi / 2 s, a weight's change minus that times what it reads.

    Both estimate the gradient without bias as s goes to 0, and with a variance that grows with the number of weights, or of
    nodes: they are slow. Estimates go through Adam.
    """

    typical_training_s = 120.0
    regimes = frozenset({"class_transfer"})

    class Config(PerceptronConfig):
        """Switches of ``perturbation``."""

        perturb: Literal["weights", "nodes"] = Field("nodes", description="what is perturbed")
        hidden: Hidden = Field(
            100, description="units in the hidden layer, or a list with one entry a layer"
        )
        sigma: float = Field(1e-2, gt=0, description="size s of a perturbation")
        trials: int = Field(4, ge=1, description="antithetic pairs a step")
        lr: float = Field(
            2e-3, gt=0, description="Adam's learning rate; falls linearly to zero during training"
        )
        batch_size: int = Field(50, ge=1, description="images in a training step")

    config: Config

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule, with its source of noise."""
        rule = NodeTrials if self.config.perturb == "nodes" else WeightTrials
        return rule(
            tensors, self.config, generator=self.rng.torch("perturbation"), adapting=adapting
        )


class Trials(LayerwiseRule):
    """What both share; ``generator`` draws the perturbations."""

    def __init__(
        self,
        tensors: Tensors,
        config: Perturbation.Config,
        *,
        generator: torch.Generator,
        **switches,
    ):
        super().__init__(tensors, config, **switches)
        self.config, self.generator = config, generator

    def noise(self, *size: int) -> torch.Tensor:
        """Normal numbers."""
        return torch.randn(size, generator=self.generator).to(self.weights[0].device)


class NodeTrials(Trials):
    """Node perturbation; the trials of a step go side by side."""

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            trials, sigma = self.config.trials, self.config.sigma
            activities, logits = self.run(x.flatten(1))
            noise = [self.noise(trials, len(x), weight.shape[1]) for weight in self.weights]
            change = (
                self._loss(activities[0], y, noise, sigma)
                - self._loss(activities[0], y, noise, -sigma)
            ) / (2 * sigma)
            errors = [(change[..., None] * xi).mean(0) / len(x) for xi in noise]
            self.learn(activities, errors, done)
            return F.cross_entropy(logits, y), logits

    def _loss(self, x: torch.Tensor, y: torch.Tensor, noise: Layers, size: float) -> torch.Tensor:
        """Cross-entropy of each image in each trial, (trials, B), under ``size`` times the noise."""
        h = (x @ self.weights[0] + self.biases[0]) + size * noise[0]
        for weight, bias, xi in zip(self.weights[1:], self.biases[1:], noise[1:], strict=True):
            h = self.f(h) @ weight + bias + size * xi
        return F.cross_entropy(h.flatten(0, 1), y.repeat(len(h)), reduction="none").view(len(h), -1)


class WeightTrials(Trials):
    """Weight perturbation, biases included."""

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            sigma, gradients = self.config.sigma, [torch.zeros_like(p) for p in self.parameters]
            _, logits = self.run(x.flatten(1))
            for _ in range(self.config.trials):
                noise = [self.noise(*p.shape) for p in self.parameters]
                change = (self._loss(x, y, noise, sigma) - self._loss(x, y, noise, -sigma)) / (
                    2 * sigma * self.config.trials
                )
                for gradient, xi in zip(gradients, noise, strict=True):
                    gradient.add_(change * xi)
            self.descent.step(gradients, self.rate(done))
            return F.cross_entropy(logits, y), logits

    def _loss(self, x: torch.Tensor, y: torch.Tensor, noise: Layers, size: float) -> torch.Tensor:
        """Mean cross-entropy with weights moved by ``size`` times the noise."""
        from harness.learning.nets import perceptron

        moved = [p + size * xi for p, xi in zip(self.parameters, noise, strict=True)]
        return F.cross_entropy(perceptron(x.flatten(1), moved), y)
