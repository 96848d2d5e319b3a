"""Exponentiated gradients: backpropagation whose steps multiply, so that no synapse changes its sign."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import (
    PerceptronConfig,
    PerceptronLearner,
    Rule,
    Tensors,
    bundle_names,
    in_turn,
    named,
)
from harness.registry import learners

MOMENTUM, SECOND, EPSILON = 0.9, 0.999, 1e-8


@learners.register("exponentiated-gradient")
class ExponentiatedGradient(PerceptronLearner):
    """Exponentiated gradients on a ReLU perceptron (Cornford et al. 2024): signed weights, or all-positive ones.

    With g the gradient of the cross-entropy, by backpropagation, every weight changes by

        w <- w exp(-eta sign(w) d)

    (Kivinen & Warmuth 1997 for weights of both signs). ``sgd``: d is the momentum of g + decay sign(w); ``adam``: d is
    m / (sqrt(v) + eps) with the moments of g. Biases descend additively.

    ``signed``: each synapse keeps the sign that it began with: Dale's law per synapse, by construction. ``positive``: all
    weights are, and each layer's mean input is subtracted, as a uniform inhibitory pool does: Dale's law per neuron.
    """

    typical_training_s = 60.0

    class Config(PerceptronConfig):
        """Switches of ``exponentiated-gradient``."""

        signs: Literal["signed", "positive"] = Field(
            "signed",
            description="random signs that stay, or excitatory weights and "
            "an inhibitory pool in each layer",
        )
        optimiser: Literal["adam", "sgd"] = Field(
            "adam", description="Adam's moments, or momentum 0.9"
        )
        lr: float = Field(
            2e-2,
            gt=0,
            description="rate eta in log w, which falls linearly to zero; about 1 for sgd",
        )
        bias_lr: float = Field(
            1e-3, gt=0, description="rate of the biases, which falls alike; about 0.05 for sgd"
        )
        decay: float = Field(0.0, ge=0, description="weight decay, inside d")
        initial: Literal["lognormal", "uniform"] = Field(
            "lognormal", description="distribution of abs(w) before training"
        )
        spread: float = Field(
            1.0, gt=0, le=3, description="standard deviation of log abs(w), where lognormal"
        )
        epochs: int = Field(10, ge=1, description="passes over the training set")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )
        adapt_lr: float = Field(
            2e-2, gt=0, description="rate eta of those steps, which stays as it is"
        )

    config: Config

    @property
    def inhibited(self) -> bool:
        """Whether each layer has an inhibitory pool."""
        return self.config.signs == "positive"

    def initial(self, n_out: int) -> Tensors:
        """Weights of variance 2 / n_in; biases of zero."""
        generator, sizes, parameters = self.rng.torch("initial weights"), [*self.sizes, n_out], []
        for n_in, n_out_ in zip(sizes[:-1], sizes[1:], strict=True):
            parameters += [self._draw(n_in, n_out_, generator), torch.zeros(1, n_out_)]
        return named(parameters)

    def _draw(self, n_in: int, n_out: int, generator: torch.Generator) -> torch.Tensor:
        positive, s2 = self.config.signs == "positive", self.config.spread**2
        if self.config.initial == "uniform":
            size = torch.rand(n_in, n_out, generator=generator)
            variance = 1 / 12 if positive else 1 / 3  # about zero where signs are random
        else:
            size = torch.exp(
                self.config.spread * torch.randn(n_in, n_out, generator=generator) - s2
            )
            variance = 1 - math.exp(-s2) if positive else 1.0
        size *= math.sqrt(2 / n_in / variance)
        if positive:
            return size
        return torch.where(torch.rand(n_in, n_out, generator=generator) < 0.5, -size, size)

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Exponentiated steps."""
        return Exponentiated(tensors, self.config, inhibited=self.inhibited, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The perceptron, with its inhibition where it has one."""
        from harness.learning.nets import Perceptron

        parameters = in_turn(tensors)
        return Perceptron(
            parameters[:-2] if activity else parameters, inhibited=self.inhibited, activity=activity
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; nothing acts on weights but the rule."""
        weights = in_turn(self.tensors)[::2]
        return [
            Synapses(name, weight)
            for name, weight in zip(bundle_names(len(weights)), weights, strict=True)
        ]


class Exponentiated:
    """The rule at work on ``tensors``, which it changes in place."""

    def __init__(
        self,
        tensors: Tensors,
        config: ExponentiatedGradient.Config,
        *,
        inhibited: bool,
        adapting: bool,
    ):
        self.parameters, self.config, self.inhibited, self.adapting = (
            in_turn(tensors),
            config,
            inhibited,
            adapting,
        )
        self.leaves = [p.detach().requires_grad_() for p in self.parameters]
        self.signs = [w.sign() for w in self.parameters[::2]]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = (
            [torch.zeros_like(p) for p in self.parameters] if config.optimiser == "adam" else []
        )
        self.steps = 0

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        from harness.learning.nets import perceptron

        with torch.enable_grad():
            logits = perceptron(x.flatten(1), self.leaves, inhibited=self.inhibited)
            loss = F.cross_entropy(logits, y)
            gradients = torch.autograd.grad(loss, self.leaves)
        self.steps += 1
        with torch.no_grad():
            for i, gradient in enumerate(gradients):
                self._move(i, gradient, 1.0 if self.adapting else 1 - done)
        return loss.detach(), logits.detach()

    def _move(self, i: int, gradient: torch.Tensor, rate: float) -> None:
        config, p = self.config, self.parameters[i]
        if i % 2:
            p.sub_(self._direction(i, gradient), alpha=rate * config.bias_lr)
            return
        sign = self.signs[i // 2]
        direction = self._direction(i, gradient + config.decay * sign if config.decay else gradient)
        eta = rate * (config.adapt_lr if self.adapting else config.lr)
        p.mul_((direction * sign).mul_(-eta).exp_())

    def _direction(self, i: int, gradient: torch.Tensor) -> torch.Tensor:
        """d: momentum, or Adam's ratio of moments."""
        first = self.first[i]
        if not self.second:
            return first.mul_(MOMENTUM).add_(gradient)
        second = self.second[i]
        first.lerp_(gradient, 1 - MOMENTUM)
        second.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        size = second.sqrt().mul_(1 / math.sqrt(1 - SECOND**self.steps)).add_(EPSILON)
        return (first / size).div_(1 - MOMENTUM**self.steps)
