"""Dense associative memory: stored patterns that complete an image by its class."""

from __future__ import annotations

import math

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import Rule, SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

SMALLEST = 1e-30
"""Keeps the step of a memory without a gradient finite."""


@learners.register("dense-associative-memory", family="memories")
class DenseAssociativeMemory(SupervisedLearner):
    """Dense associative memory that classifies (Krotov & Hopfield 2016, arXiv 1606.01164).

    The state is the image v in [-1, 1] and a unit for each class, all at -1. With memories
    xi = (xi^v, xi^c) and F(z) = (max(z, 0) / T)^n, class c flips by the energy

        s_c = sum_mu F(b_mu + 2 xi_mu,c) - F(b_mu),        b_mu = xi_mu^v . v - sum_c xi_mu,c,

    and answers y_c = tanh(s_c) in one step. Memories descend on sum_c |y_c - t_c|^(2 m), t = +-1,
    with momentum; the largest change of each memory is the rate, and values stay in [-1, 1]. For
    n = 2 it is Hopfield's network, for large n nearest stored pattern.

    The classifier gives the scores s. Through tanh, as the paper has it, gradients vanish where
    the network is sure, and attacks on the cross-entropy find far too little.
    """

    typical_training_s = 500.0

    class Config(SupervisedConfig):
        """Keys of ``dense-associative-memory``."""

        memories: int = Field(300, ge=1, description="number of memories")
        power: int = Field(20, ge=1, le=60, description="power n of the energy")
        loss_power: int = Field(30, ge=1, le=30, description="half the power of the error, m")
        temperature: float = Field(
            0.69, gt=0, description="T, as a share of the number of pixels; 540 / 784 for n = 20"
        )
        momentum: float = Field(0.6, ge=0, lt=1, description="momentum")
        lr: float = Field(
            0.04, gt=0, description="largest change of a value in a step; falls linearly to zero"
        )
        adapt_lr: float = Field(
            0.02, gt=0, description="the same on a support set, where it stays constant"
        )
        epochs: int = Field(60, ge=1, description="passes over the training set")
        batch_size: int = Field(100, ge=1, description="images per training step")

    config: Config

    @property
    def energy(self) -> dict[str, float]:
        """Power and temperature, as the network takes them."""
        pixels = math.prod(self.image_shape)
        return {"power": self.config.power, "temperature": self.config.temperature * pixels}

    def initial(self, n_out: int) -> Tensors:
        """Normal values, of mean -0.3 and deviation 0.3, cut at +-1."""
        generator = self.rng.torch("initial weights")
        pixels = math.prod(self.image_shape)
        shape = (self.config.memories, pixels + n_out)
        values = (0.3 * torch.randn(shape, generator=generator) - 0.3).clamp_(-1, 1)
        return {"pixels": values[:, :pixels].clone(), "classes": values[:, pixels:].clone()}

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Descent with normalised steps."""
        return Storing(tensors, self.config, self.energy, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """Scores, or how strongly each memory is matched."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(_matches if activity else scores, tensors, **self.energy)

    def connectome(self) -> list[Synapses]:
        """From pixels to memories, and from memories to classes; both signs are allowed."""
        return [
            Synapses("input->memories", self.tensors["pixels"].T),
            Synapses("memories->output", self.tensors["classes"]),
        ]


def _match(images: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    """The match b of each memory, (B, memories)."""
    v = 2 * images.flatten(1) - 1
    return v @ tensors["pixels"].T - tensors["classes"].sum(1)


def _matches(
    images: torch.Tensor, tensors: Tensors, power: float, temperature: float
) -> torch.Tensor:
    return (_match(images, tensors) / temperature).clamp(min=0) ** power


def scores(
    images: torch.Tensor, tensors: Tensors, power: float, temperature: float
) -> torch.Tensor:
    """The scores s, (B, classes)."""
    b = _match(images, tensors) / temperature
    flipped = b.unsqueeze(2) + 2 * tensors["classes"] / temperature
    without = b.clamp(min=0) ** power
    return (flipped.clamp(min=0) ** power - without.unsqueeze(2)).sum(1)


class Storing:
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        energy: Power and temperature.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: DenseAssociativeMemory.Config,
        energy: dict[str, float],
        *,
        adapting: bool,
    ) -> None:
        self.tensors = tensors
        self.config = config
        self.energy = energy
        self.lr = config.adapt_lr if adapting else config.lr
        self.rate_falls = not adapting
        self.velocity = {name: torch.zeros_like(value) for name, value in tensors.items()}

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step."""
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in self.tensors.items()}
            found = scores(x, leaves, **self.energy)
            target = 2 * F.one_hot(y, found.shape[1]) - 1
            # Halved, so that a high power stays within float32.
            error = ((torch.tanh(found) - target) / 2).abs() ** (2 * self.config.loss_power)
            gradients = torch.autograd.grad(error.sum(), list(leaves.values()))
        rate = self.lr * (1 - done if self.rate_falls else 1.0)
        with torch.no_grad():
            self._move(dict(zip(leaves, gradients, strict=True)), rate)
        logits = found.detach()
        return F.cross_entropy(logits, y), logits

    def _move(self, gradients: Tensors, rate: float) -> None:
        """Move each memory so that its largest change is ``rate``."""
        for name, gradient in gradients.items():
            self.velocity[name].mul_(self.config.momentum).sub_(gradient)
        largest = torch.stack([v.abs().amax(1) for v in self.velocity.values()]).amax(0)
        scale = (rate / largest.clamp(min=SMALLEST)).unsqueeze(1)
        for name, v in self.velocity.items():
            self.tensors[name].add_(v * scale).clamp_(-1, 1)
