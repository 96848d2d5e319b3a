"""Equilibrium propagation: the difference of two nudged rest states is the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.lazy import F, nn, torch
from harness.learning.convolved import KERNEL, layer_shapes, synapses_of
from harness.learning.learner import Synapses
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.perceptron import Hidden, layer_sizes
from harness.learning.supervised import Rule, SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

Squash = Literal["sigmoid", "hard-sigmoid", "half-hard-sigmoid"]
Loss = Literal["squared-error", "cross-entropy"]
States = list["torch.Tensor"]


@learners.register("equilibrium-propagation", family="energy-based")
class EquilibriumPropagation(SupervisedLearner):
    """Equilibrium propagation (Scellier & Bengio 2017), centred (Laborieux et al. 2021).

    Layers s_1 .. s_L relax on the image s_0, with the primitive function
    Phi = sum_l s_l . (s_{l-1} W_l + b_l) - beta |t - s_L|^2 / 2 and symmetric weights:

        s_l <- rho(dPhi / ds_l) = rho(s_{l-1} W_l + b_l + s_{l+1} W_{l+1}^T),

    all layers at once, from zero, for ``free_steps``. From rest, ``nudged_steps`` at +beta and as
    many at -beta lead to s+ and s-, and weights ascend on
    [dPhi/dW(s+) - dPhi/dW(s-)] / (2 beta) = [s+_{l-1}^T s+_l - s-_{l-1}^T s-_l] / (2 beta): what is
    local to a synapse. As beta goes to 0, this is the gradient of the loss at rest.

    With ``loss: cross-entropy`` the output is no part of the dynamics: it reads softmax(s_L W + b)
    and nudges by beta times the descent on its cross-entropy (Laborieux et al. 2021, section 3).
    Convolutions, 3x3 with max pooling by 2, come before the other layers.

    The classifier is the free phase of exactly ``free_steps``, and answers by the drive of the
    output: its activity saturates, which would hide gradients. Attacks follow the unrolled steps.
    The weights act in both directions, so that no neuron owns the sign of a weight.
    """

    typical_training_s = 800.0

    class Config(SupervisedConfig):
        """Keys of ``equilibrium-propagation``."""

        channels: list[Annotated[int, Field(ge=1)]] = Field(
            default=[],
            description="channels of each 3x3 convolution, every one followed by max pooling by 2",
        )
        hidden: Hidden = Field(512, description="units of each hidden layer after the convolutions")
        squash: Squash = Field("sigmoid", description="activation function rho")
        loss: Loss = Field("squared-error", description="what the nudged phases lower")
        free_steps: int = Field(30, ge=1, description="steps of the free phase")
        nudged_steps: int = Field(10, ge=1, description="steps of each nudged phase")
        beta: float = Field(0.1, gt=0, description="strength of nudging")
        centred: bool = Field(True, description="nudge either way, not only towards the label")
        lr: float = Field(
            5e-4, gt=0, description="Adam's learning rate; falls linearly to zero during training"
        )

        @model_validator(mode="after")
        def _layers_exist(self) -> EquilibriumPropagation.Config:
            if not self.channels and not layer_sizes(self.hidden):
                raise ValueError("there are no hidden layers: give hidden or channels")
            return self

    config: Config

    @property
    def dynamics(self) -> Dynamics:
        """How the layers relax."""
        config = self.config
        return Dynamics(
            config.squash, len(config.channels), config.loss == "squared-error", config.free_steps
        )

    def initial(self, n_out: int) -> Tensors:
        """Uniform weights in +-1 / sqrt(fan-in) and biases of zero."""
        config = self.config
        generator = self.rng.torch("initial weights")
        hidden = layer_sizes(config.hidden)
        tensors: Tensors = {}
        for i, layer in enumerate(layer_shapes(self.image_shape, config.channels, hidden, n_out)):
            uniform = 2 * torch.rand(layer.weight, generator=generator) - 1
            tensors[f"weight{i}"] = uniform / math.sqrt(layer.fan_in)
            tensors[f"bias{i}"] = torch.zeros(layer.bias)
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Free and nudged phases."""
        return Contrast(tensors, self.config, self.dynamics, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The free phase."""
        from harness.learning.nets import FrozenFunction

        function = _last_hidden if activity else _answer
        return FrozenFunction(function, tensors, dynamics=self.dynamics)

    def connectome(self) -> list[Synapses]:
        """One bundle per layer."""
        return synapses_of(self.tensors, presynaptic_sign=False)


def layers_of(tensors: Tensors) -> int:
    """Number of layers, the output's among them."""
    return sum(name.startswith("weight") for name in tensors)


SQUASH: dict[Squash, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": lambda drive: torch.sigmoid(4 * (drive - 0.5)),
    "hard-sigmoid": lambda drive: drive.clamp(0, 1),
    "half-hard-sigmoid": lambda drive: (drive / 2).clamp(0, 1),
}


@dataclass(frozen=True)
class Dynamics:
    """How the layers of a network relax.

    Attributes:
        squash: Activation function rho.
        convolutions: Number of layers, from the image on, that are convolutions.
        with_output: Whether the output is a layer of the dynamics.
        free_steps: Steps of the free phase.
    """

    squash: Squash
    convolutions: int
    with_output: bool
    free_steps: int

    def relaxing(self, tensors: Tensors) -> int:
        """Number of layers that relax."""
        return layers_of(tensors) - (0 if self.with_output else 1)

    def up(
        self, i: int, below: torch.Tensor, tensors: Tensors
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Drive of layer ``i`` from the one below, and where each maximum was pooled from."""
        weight, bias = tensors[f"weight{i}"], tensors[f"bias{i}"]
        if i >= self.convolutions:
            return below.flatten(1) @ weight + bias, None
        drive = F.conv2d(below, weight, bias, padding=KERNEL // 2)
        pooled, places = F.max_pool2d(drive, 2, return_indices=True)
        return pooled, places

    def down(
        self,
        i: int,
        state: torch.Tensor,
        below: torch.Tensor,
        places: torch.Tensor | None,
        tensors: Tensors,
    ) -> torch.Tensor:
        """What layer ``i`` sends down: the transpose of ``up`` at the state ``below``."""
        weight = tensors[f"weight{i}"]
        if places is None:
            return (state @ weight.T).reshape(below.shape)
        spread = F.max_unpool2d(state, places, [2, 2], output_size=below.shape[-2:])
        return F.conv_transpose2d(spread, weight, padding=KERNEL // 2)

    def sweep(
        self,
        first: torch.Tensor,
        states: States,
        tensors: Tensors,
        nudge: torch.Tensor | None = None,
    ) -> States:
        """One step of all layers at once.

        Args:
            first: Drive of the first layer from the image.
            states: Of each layer that relaxes.
            tensors: The network's.
            nudge: Added to the drive of the last of them.
        """
        drives = [first]
        for i in range(1, len(states)):
            drive, places = self.up(i, states[i - 1], tensors)
            drives.append(drive)
            drives[i - 1] = drives[i - 1] + self.down(i, states[i], states[i - 1], places, tensors)
        if nudge is not None:
            drives[-1] = drives[-1] + nudge
        return [SQUASH[self.squash](drive) for drive in drives]

    def start(self, first: torch.Tensor, tensors: Tensors) -> States:
        """Every layer at zero."""
        states = [torch.zeros_like(first)]
        for i in range(1, self.relaxing(tensors)):
            states.append(torch.zeros_like(self.up(i, states[-1], tensors)[0]))
        return states

    def rest(self, images: torch.Tensor, tensors: Tensors) -> tuple[torch.Tensor, States]:
        """The free phase: drive of the first layer, and the states after ``free_steps``."""
        first, _ = self.up(0, images, tensors)
        states = self.start(first, tensors)
        for _ in range(self.free_steps):
            states = self.sweep(first, states, tensors)
        return first, states

    def answer(self, states: States, tensors: Tensors) -> torch.Tensor:
        """Drive of the output (B, classes), from the states that relax."""
        last = layers_of(tensors) - 1
        below = states[last - 1]
        return self.up(last, below, tensors)[0]

    def primitive(self, images: torch.Tensor, states: States, tensors: Tensors) -> torch.Tensor:
        """Phi without its nudge, summed over the batch."""
        total = images.new_zeros(())
        below = images
        for i, state in enumerate(states):
            total = total + (state * self.up(i, below, tensors)[0]).sum()
            below = state
        return total


def _answer(images: torch.Tensor, tensors: Tensors, dynamics: Dynamics) -> torch.Tensor:
    _, states = dynamics.rest(images, tensors)
    return dynamics.answer(states, tensors)


def _last_hidden(images: torch.Tensor, tensors: Tensors, dynamics: Dynamics) -> torch.Tensor:
    _, states = dynamics.rest(images, tensors)
    return states[layers_of(tensors) - 2].flatten(1)


class Contrast:
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        dynamics: How its layers relax.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: EquilibriumPropagation.Config,
        dynamics: Dynamics,
        *,
        adapting: bool,
    ) -> None:
        self.config = config
        self.dynamics = dynamics
        self.tensors = tensors
        self.rate_falls = not adapting
        self.optimiser = ProximalOptimiser(
            list(tensors.values()),
            optimiser="adam",
            lr=config.adapt_lr if adapting else config.lr,
            weights=[name.startswith("weight") for name in tensors],
        )

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step."""
        with torch.no_grad():
            first, states = self.dynamics.rest(x, self.tensors)
            logits = self.dynamics.answer(states, self.tensors)
            target = F.one_hot(y, logits.shape[1]).to(logits.dtype)
            gradients = self.estimate(x, first, states, target)
            self.optimiser.step(gradients, 1 - done if self.rate_falls else 1.0)
            return F.cross_entropy(logits, y), logits

    def estimate(
        self, x: torch.Tensor, first: torch.Tensor, states: States, target: torch.Tensor
    ) -> list[torch.Tensor]:
        """The estimate of the gradient of the mean loss, for each of the tensors.

        Args:
            x: Images (B, C, H, W).
            first: Drive of the first layer.
            states: At rest.
            target: One-hot labels (B, classes).
        """
        beta = self.config.beta
        signs = (beta, -beta) if self.config.centred else (beta, 0.0)
        phases = [self.nudged(first, states, target, strength) for strength in signs]
        gap = (signs[0] - signs[1]) * len(x)
        leaves = {name: value.detach().requires_grad_() for name, value in self.tensors.items()}
        with torch.enable_grad():
            rise = self.dynamics.primitive(x, phases[0], leaves) - self.dynamics.primitive(
                x, phases[1], leaves
            )
            loss = -rise / gap
            if not self.dynamics.with_output:
                logits = [self.dynamics.answer(phase, leaves) for phase in phases]
                entropies = [-(target * each.log_softmax(1)).sum() / len(x) for each in logits]
                loss = loss + torch.stack(entropies).mean()
            return list(torch.autograd.grad(loss, list(leaves.values())))

    def nudged(
        self, first: torch.Tensor, states: States, target: torch.Tensor, beta: float
    ) -> States:
        """The states after a nudged phase of strength ``beta`` from rest."""
        for _ in range(self.config.nudged_steps if beta else 0):
            states = self.dynamics.sweep(
                first, states, self.tensors, beta * self.force(states, target)
            )
        return states

    def force(self, states: States, target: torch.Tensor) -> torch.Tensor:
        """Descent on the loss by the last state that relaxes, in its shape."""
        if self.dynamics.with_output:
            return target - states[-1]
        last = layers_of(self.tensors) - 1
        error = target - self.dynamics.answer(states, self.tensors).softmax(1)
        return self.dynamics.down(last, error, states[-1], None, self.tensors)
