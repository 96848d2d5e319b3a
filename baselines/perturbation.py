"""Learning by trial and error: weight perturbation and node perturbation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.layerwise import HandwrittenRule, Layers
from harness.learning.perceptron import Hidden, PerceptronConfig, PerceptronLearner
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners


@learners.register("perturbation", family="error signals")
class Perturbation(PerceptronLearner):
    """Weight or node perturbation on a ReLU perceptron: change of the loss times perturbation.

    With xi normal and L the cross-entropy, in antithetic pairs:

    - ``weights`` (Jabri & Flower 1992; Cauwenberghs 1993): with one xi for the batch and L its
      mean, dw ~ -(L(w + s xi) - L(w - s xi)) xi / (2 s);
    - ``nodes`` (Williams 1992; Werfel, Xie & Seung 2005): noise on the summed input a of every
      unit, including the output, independent for each image. The error of a unit is
      (L(a + s xi) - L(a - s xi)) xi / (2 s), and a weight changes by minus its error times its
      input.

    Both estimate the gradient without bias as s goes to 0, with a variance that grows with the
    number of weights, or of nodes: they are slow. Estimates go through Adam.
    """

    typical_training_s = 120.0
    regimes = frozenset({"class_transfer"})

    class Config(PerceptronConfig):
        """Keys of ``perturbation``."""

        perturb: Literal["weights", "nodes"] = Field("nodes", description="what is perturbed")
        hidden: Hidden = Field(
            100, description="units in the hidden layer, or a list with one entry per layer"
        )
        sigma: float = Field(1e-2, gt=0, description="size s of a perturbation")
        trials: int = Field(4, ge=1, description="antithetic pairs per step")
        lr: float = Field(
            2e-3, gt=0, description="Adam's learning rate; falls linearly to zero during training"
        )
        batch_size: int = Field(50, ge=1, description="images per training step")

    config: Config

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule, with its source of noise."""
        generator = self.rng.torch("perturbation")
        if self.config.perturb == "nodes":
            return NodePerturbation(tensors, self.config, generator, adapting=adapting)
        return WeightPerturbation(tensors, self.config, generator, adapting=adapting)


class PerturbationRule(HandwrittenRule):
    """A rule that draws perturbations from ``generator``."""

    def __init__(
        self,
        tensors: Tensors,
        config: Perturbation.Config,
        generator: torch.Generator,
        *,
        adapting: bool,
    ) -> None:
        super().__init__(tensors, config, adapting=adapting)
        self.sigma = config.sigma
        self.trials = config.trials
        self.generator = generator

    def draw(self, *size: int) -> torch.Tensor:
        """Draw standard normal numbers."""
        return torch.randn(size, generator=self.generator).to(self.weights[0].device)


class NodePerturbation(PerturbationRule):
    """Node perturbation; all trials of a step run at once."""

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            inputs, logits = self.run(x.flatten(1))
            batch = len(x)
            noise = [self.draw(self.trials, batch, w.shape[1]) for w in self.weights]
            loss_up = self._loss(inputs[0], y, noise, self.sigma)
            loss_down = self._loss(inputs[0], y, noise, -self.sigma)
            slope = (loss_up - loss_down) / (2 * self.sigma)  # (trials, B)
            errors = [(slope[..., None] * xi).mean(0) / batch for xi in noise]
            self.learn(inputs, errors, done)
            return F.cross_entropy(logits, y), logits

    def _loss(self, x: torch.Tensor, y: torch.Tensor, noise: Layers, size: float) -> torch.Tensor:
        """Cross-entropy (trials, B) of each image in each trial, under ``size`` times the noise."""
        h = (x @ self.weights[0] + self.biases[0]) + size * noise[0]
        for weight, bias, xi in zip(self.weights[1:], self.biases[1:], noise[1:], strict=True):
            h = self.f(h) @ weight + bias + size * xi
        trials = len(h)
        losses = F.cross_entropy(h.flatten(0, 1), y.repeat(trials), reduction="none")
        return losses.view(trials, -1)


class WeightPerturbation(PerturbationRule):
    """Weight perturbation, including biases."""

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            gradients = [torch.zeros_like(p) for p in self.parameters]
            _, logits = self.run(x.flatten(1))
            for _ in range(self.trials):
                noise = [self.draw(*p.shape) for p in self.parameters]
                loss_up = self._loss(x, y, noise, self.sigma)
                loss_down = self._loss(x, y, noise, -self.sigma)
                slope = (loss_up - loss_down) / (2 * self.sigma * self.trials)
                for gradient, xi in zip(gradients, noise, strict=True):
                    gradient.add_(slope * xi)
            self.optimiser.step(gradients, self.rate(done))
            return F.cross_entropy(logits, y), logits

    def _loss(self, x: torch.Tensor, y: torch.Tensor, noise: Layers, size: float) -> torch.Tensor:
        """Mean cross-entropy with all parameters moved by ``size`` times the noise."""
        from harness.learning.nets import perceptron

        moved = [p + size * xi for p, xi in zip(self.parameters, noise, strict=True)]
        return F.cross_entropy(perceptron(x.flatten(1), moved), y)
