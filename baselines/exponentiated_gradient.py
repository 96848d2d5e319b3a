"""Exponentiated gradients: backpropagation with steps that multiply, so no sign changes."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.optimisers import BETA1, BETA2, EPSILON, MOMENTUM
from harness.learning.perceptron import PerceptronConfig, PerceptronLearner, in_turn, named
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners


@learners.register("exponentiated-gradient", family="backprop")
class ExponentiatedGradient(PerceptronLearner):
    """Exponentiated gradients (Cornford et al. 2024): signed weights, or all-positive ones.

    With g the gradient of the cross-entropy, by backpropagation, every weight of a ReLU perceptron
    changes by

        w <- w exp(-eta sign(w) d)

    (Kivinen & Warmuth 1997 for weights of both signs). ``sgd``: d is the momentum of
    g + decay sign(w). ``adam``: d is m / (sqrt(v) + eps), with the moments of g + decay sign(w).
    Biases descend additively.

    ``signed``: each synapse keeps its initial sign: Dale's law per synapse, by construction.
    ``positive``: all weights are positive, and each layer's mean input is subtracted, as a uniform
    inhibitory pool does: Dale's law per neuron.
    """

    typical_training_s = 70.0

    class Config(PerceptronConfig):
        """Keys of ``exponentiated-gradient``."""

        signs: Literal["signed", "positive"] = Field(
            "signed",
            description="random signs that never change, or excitatory weights and an inhibitory "
            "pool in each layer",
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
            1e-3, gt=0, description="rate of the biases, which falls likewise; about 0.05 for sgd"
        )
        decay: float = Field(0.0, ge=0, description="weight decay, inside d")
        initial: Literal["lognormal", "uniform"] = Field(
            "lognormal", description="distribution of abs(w) before training"
        )
        spread: float = Field(
            1.0, gt=0, le=3, description="standard deviation of log abs(w), if lognormal"
        )
        epochs: int = Field(10, ge=1, description="passes over the training set")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )
        adapt_lr: float = Field(
            2e-2, gt=0, description="rate eta of those steps, which stays constant"
        )

    config: Config

    @property
    def inhibited(self) -> bool:
        """Whether each layer has an inhibitory pool."""
        return self.config.signs == "positive"

    def initial(self, n_out: int) -> Tensors:
        """Weights of variance 2 / n_in; biases of zero."""
        generator = self.rng.torch("initial weights")
        sizes = [*self.sizes, n_out]
        parameters = []
        for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
            parameters.append(self._draw(fan_in, fan_out, generator))
            parameters.append(torch.zeros(1, fan_out))
        return named(parameters)

    def _draw(self, n_in: int, n_out: int, generator: torch.Generator) -> torch.Tensor:
        """Initial weights (n_in, n_out) of one layer."""
        positive = self.config.signs == "positive"
        s2 = self.config.spread**2
        if self.config.initial == "uniform":
            size = torch.rand(n_in, n_out, generator=generator)
            variance = 1 / 12 if positive else 1 / 3  # with random signs, the mean is 0
        else:
            xi = torch.randn(n_in, n_out, generator=generator)
            size = torch.exp(self.config.spread * xi - s2)
            variance = 1 - math.exp(-s2) if positive else 1.0
        size *= math.sqrt(2 / n_in / variance)
        if positive:
            return size
        is_negative = torch.rand(n_in, n_out, generator=generator) < 0.5
        return torch.where(is_negative, -size, size)

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Exponentiated steps."""
        return Exponentiated(tensors, self.config, inhibited=self.inhibited, adapting=adapting)


class Exponentiated:
    """The rule, training one network.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        inhibited: Whether each layer has an inhibitory pool.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: ExponentiatedGradient.Config,
        *,
        inhibited: bool,
        adapting: bool,
    ) -> None:
        self.parameters = in_turn(tensors)
        self.config = config
        self.inhibited = inhibited
        self.adapting = adapting
        self.leaves = [p.detach().requires_grad_() for p in self.parameters]
        self.signs = [w.sign() for w in self.parameters[::2]]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second: list[torch.Tensor] = []
        if config.optimiser == "adam":
            self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        from harness.learning.nets import perceptron

        with torch.enable_grad():
            logits = perceptron(x.flatten(1), self.leaves, inhibited=self.inhibited)
            loss = F.cross_entropy(logits, y)
            gradients = torch.autograd.grad(loss, self.leaves)
        self.steps += 1
        fade = 1.0 if self.adapting else 1 - done
        with torch.no_grad():
            for i, gradient in enumerate(gradients):
                if i % 2 == 0:
                    self._change_weight(i, gradient, fade)
                else:
                    direction = self._direction(i, gradient)
                    self.parameters[i].sub_(direction, alpha=fade * self.config.bias_lr)
        return loss.detach(), logits.detach()

    def _change_weight(self, i: int, gradient: torch.Tensor, fade: float) -> None:
        """Change one layer's weights, w <- w exp(-eta sign(w) d)."""
        config = self.config
        sign = self.signs[i // 2]
        if config.decay:
            gradient = gradient + config.decay * sign
        direction = self._direction(i, gradient)
        eta = fade * (config.adapt_lr if self.adapting else config.lr)
        self.parameters[i].mul_((direction * sign).mul_(-eta).exp_())

    def _direction(self, i: int, gradient: torch.Tensor) -> torch.Tensor:
        """d: momentum, or Adam's ratio of moments with bias corrections."""
        first = self.first[i]  # m
        if not self.second:
            return first.mul_(MOMENTUM).add_(gradient)
        second = self.second[i]  # v
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = second.sqrt().mul_(1 / math.sqrt(1 - BETA2**self.steps)).add_(EPSILON)
        return (first / root).div_(1 - BETA1**self.steps)
