"""Weights that learn a mean input and its surprise: a Hebbian rule whose weights become lognormal.

The plain rule's weights settle at E[x_i | j wins], and their logs are as skewed as the images are.
Here log w settles between the log of that mean and its surprise,

    log w_ij = (log(e_ij + c) + (e_ij - mean_i) / (lambda (sd_i + c))) / 2 + const_j,

where e_ij = E[x_i | j wins], and mean_i and sd_i belong to the input alone. The log stretches small
inputs, the surprise large ones, and the sum is close to a normal distribution. All is local: e_ij
is a trace at the synapse, mean_i and sd_i are traces of the presynaptic neuron, and const_j keeps
the neuron's mean log w, as synaptic scaling does.

This project's construction; no paper is known to us that has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.lazy import torch

SLOWEST = 0.01
"""Smallest rate of the presynaptic traces; before, they are means of all that was seen."""


def log_weight(
    given_win: torch.Tensor,
    mean: torch.Tensor,
    deviation: torch.Tensor,
    scale: float,
    offset: float,
) -> torch.Tensor:
    """What log w settles at, up to a constant of its neuron.

    Args:
        given_win: e, mean input when a neuron wins, (..., H, n).
        mean: Mean input, (..., 1, n).
        deviation: Its standard deviation, of the same shape.
        scale: lambda; the surprise counts less if it is larger.
        offset: c > 0.

    Returns:
        (..., H, n).
    """
    surprise = (given_win - mean).div_((deviation + offset).mul_(scale))
    return surprise.add_((given_win + offset).log_()).mul_(0.5)


@dataclass
class Traces:
    """What synapses and presynaptic neurons of E layers remember of their activity.

    Attributes:
        given_win: e, (E, H, n).
        mean: Running mean of the inputs, (E, n).
        square: Running mean of their squares, (E, n).
        batches: Number of batches seen.
    """

    given_win: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    batches: int = 0

    @classmethod
    def before(cls, weight: torch.Tensor) -> Traces:
        """Traces before any input: e is the initial weight, (E, H, n)."""
        none = weight.new_zeros(weight.shape[0], weight.shape[2])
        return cls(weight.clone(), none, none.clone())

    @property
    def deviation(self) -> torch.Tensor:
        """Standard deviation of the inputs, (E, n)."""
        return (self.square - self.mean.square()).clamp_min_(0).sqrt_()

    def see(self, inputs: torch.Tensor) -> None:
        """Follow the activity of the presynaptic neurons, inputs (E, B, n)."""
        self.batches += 1
        rate = max(1 / self.batches, SLOWEST)
        self.mean.lerp_(inputs.mean(1), rate)
        self.square.lerp_(inputs.square().mean(1), rate)

    def carried(self) -> dict[str, torch.Tensor]:
        """The traces as tensors, for a learner that goes on."""
        return {f"traces.{name}": torch.as_tensor(value) for name, value in vars(self).items()}

    @classmethod
    def of(cls, carried: dict[str, torch.Tensor]) -> Traces | None:
        """Copies of the traces that ``carried`` gave; None where there are none."""
        if "traces.batches" not in carried:
            return None
        names = ("given_win", "mean", "square")
        copies = {name: carried[f"traces.{name}"].clone() for name in names}
        return cls(**copies, batches=int(carried["traces.batches"]))
