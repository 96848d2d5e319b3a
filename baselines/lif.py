"""Leaky integrate-and-fire neurons, trained by surrogate gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from harness.lazy import nn, torch
from harness.learning.backprop import Backprop, BackpropConfig
from harness.learning.perceptron import Hidden, PerceptronConfig, PerceptronLearner, in_turn, named
from harness.learning.spikes import Surrogate, reset_by
from harness.learning.spikes import spikes as spikes_of
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

Code = Literal["direct", "rate"]


@learners.register("lif", family="spikes")
class Lif(PerceptronLearner):
    """A spiking perceptron with surrogate gradients (Neftci, Mostafa & Zenke 2019).

    In each of ``steps`` steps, layer l has the current I = z_{l-1} W_l + b_l, and

        v <- leak v + I - threshold z,        z = 1 if v > threshold else 0,

    where the z that is subtracted is that of the step before. The output integrates without
    spikes; the logits are its mean over the steps. The backward pass takes the slope of a smooth
    step in place of that of z:

    - ``fast-sigmoid``: 1 / (1 + k |u|)^2, with u = v - threshold;
    - ``sigmoid``: k s (1 - s), s the sigmoid of k u;
    - ``arctan``: k / 2 / (1 + (pi k u / 2)^2);
    - ``rectangle``: k / 2 where |u| < 1 / k.

    ``code: direct`` gives the image itself in every step. ``code: rate`` gives spikes: a pixel
    spikes in a step if it is brighter than a random threshold, new in every step of training. When
    it is measured, thresholds are fixed and logits are means over ``draws`` codes, so that an
    answer is that of the expectation.

    One surrogate overstates robustness: attack with several (``pgd-slopes``).
    """

    typical_training_s = 400.0

    class Config(BackpropConfig, PerceptronConfig):
        """Keys of ``lif``."""

        hidden: Hidden = Field(
            400, description="units in the hidden layer, or a list with one entry per layer"
        )
        steps: int = Field(10, ge=1, description="time steps")
        leak: float = Field(0.95, ge=0, lt=1, description="what a step leaves of a potential")
        threshold: float = Field(1.0, gt=0, description="potential above which a neuron spikes")
        surrogate: Surrogate = Field("fast-sigmoid", description="slope of the backward pass")
        steepness: float = Field(25.0, gt=0, description="k of the surrogate")
        code: Code = Field("direct", description="the image itself, or spikes at its rate")
        draws: int = Field(
            10, ge=1, description="codes that an answer is averaged over, with code: rate"
        )

        @model_validator(mode="after")
        def _is_plain(self) -> Lif.Config:
            if self.certified_eps or self.non_negative:
                raise ValueError("lif has neither certified_eps nor non_negative")
            return self

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Uniform in +-1 / sqrt(fan-in), biases too; and the thresholds of the rate code."""
        generator = self.rng.torch("initial weights")
        parameters = []
        for n_in, units in zip(self.sizes, [*self.sizes[1:], n_out], strict=True):
            for shape in ((n_in, units), (1, units)):
                uniform = 2 * torch.rand(shape, generator=generator) - 1
                parameters.append(uniform / math.sqrt(n_in))
        tensors = named(parameters)
        if self.config.code == "rate":
            tensors["codes"] = self._thresholds(self.config.draws, self.rng.torch("codes"))
        return tensors

    def _thresholds(self, draws: int, generator: torch.Generator) -> torch.Tensor:
        """What a pixel must exceed to spike: uniform (draws, steps, 1, pixels)."""
        shape = (draws, self.config.steps, 1, self.sizes[0])
        return torch.rand(shape, generator=generator)

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Backpropagation through the steps."""
        fresh = self.rng.torch("training codes")

        def forward(x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
            if training and "codes" in tensors:
                tensors = {**tensors, "codes": self._thresholds(1, fresh).to(x.device)}
            return _answer(x, tensors, self.dynamics)

        start = self.rng.torch("adversarial start")
        return Backprop(forward, tensors, self.config, start, adapting=adapting)

    @property
    def dynamics(self) -> Dynamics:
        """The neurons' constants."""
        config = self.config
        return Dynamics(
            config.steps, config.leak, config.threshold, config.surrogate, config.steepness
        )

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The spiking network; the activity is the rate of each neuron of the last hidden layer."""
        from harness.learning.nets import FrozenFunction

        function = _rates if activity else _answer
        return FrozenFunction(function, tensors, dynamics=self.dynamics)


@dataclass(frozen=True)
class Dynamics:
    """Constants of the neurons.

    Attributes:
        steps: Time steps.
        leak: What a step leaves of a potential.
        threshold: Potential above which a neuron spikes.
        surrogate: Slope of the backward pass.
        steepness: Its k.
    """

    steps: int
    leak: float
    threshold: float
    surrogate: Surrogate
    steepness: float


def _run(
    currents: list[torch.Tensor], tensors: Tensors, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the network on the first layer's current in each step.

    Returns:
        Mean potential of the output (B, classes), and rate of the last hidden layer (B, units).
    """
    parameters = in_turn(tensors)
    weights, biases = parameters[::2], parameters[1::2]
    rows = len(currents[0])
    potentials = [torch.zeros_like(bias).expand(rows, -1) for bias in biases]
    spikes = list(potentials[:-1])
    total = potentials[-1]
    counted = spikes[-1]
    for current in currents:
        for i in range(len(spikes)):
            if i > 0:
                current = spikes[i - 1] @ weights[i] + biases[i]
            reset = dynamics.threshold * reset_by(spikes[i])
            potentials[i] = dynamics.leak * potentials[i] + current - reset
            above = potentials[i] - dynamics.threshold
            spikes[i] = spikes_of(above, dynamics.surrogate, dynamics.steepness)
        drive = spikes[-1] @ weights[-1] + biases[-1]
        potentials[-1] = dynamics.leak * potentials[-1] + drive
        total = total + potentials[-1]
        counted = counted + spikes[-1]
    return total / len(currents), counted / len(currents)


def _averaged(
    images: torch.Tensor, tensors: Tensors, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    """``_run`` on the image itself, or the mean over the codes of its pixels."""
    from harness.learning.surrogate import surrogate

    x = images.flatten(1)
    weight, bias = tensors["weight0"], tensors["bias0"]
    if "codes" not in tensors:
        return _run([x @ weight + bias] * dynamics.steps, tensors, dynamics)
    answers, rates = [], []
    for thresholds in tensors["codes"]:
        currents = [surrogate((x > u).to(x.dtype), x) @ weight + bias for u in thresholds]
        answer, rate = _run(currents, tensors, dynamics)
        answers.append(answer)
        rates.append(rate)
    return torch.stack(answers).mean(0), torch.stack(rates).mean(0)


def _answer(images: torch.Tensor, tensors: Tensors, dynamics: Dynamics) -> torch.Tensor:
    return _averaged(images, tensors, dynamics)[0]


def _rates(images: torch.Tensor, tensors: Tensors, dynamics: Dynamics) -> torch.Tensor:
    return _averaged(images, tensors, dynamics)[1]
