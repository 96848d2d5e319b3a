"""Sparse coding by a locally competitive algorithm, and a trained read-out."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.hebbian import HebbianConfig
from harness.learning.hebbian_stream import StreamingHebbianLearner
from harness.learning.learner import Synapses
from harness.registry import learners

SMALLEST = 1e-12
STABLE = 1.5
"""The largest eigenvalue of the Gram matrix over the time constant; below 2, dynamics settle."""


@learners.register("lca", family="sparse codes")
class Lca(StreamingHebbianLearner):
    """Sparse coding (Olshausen & Field 1996) by leaky neurons that inhibit each other.

    With x the image at length one and atoms D of length one, potentials follow (Rozell et al. 2008,
    eq. 5)

        tau du/dt = D^T x - u - (D^T D - 1) a,        a = max(u - threshold, 0),

    whose rest state is the minimum of |x - D a|^2 / 2 + threshold |a|_1 over a >= 0; with
    ``signed``, over all a. tau is chosen so that the steps are stable. Then
    dD = rate (x - D a) a^T, by each atom's mean a^2, and atoms return to length one. The dictionary
    of ``non_negative`` has no negative entry.

    The classifier unrolls exactly ``steps`` steps, which attacks follow.
    """

    typical_training_s = 500.0

    class Config(HebbianConfig):
        """Keys of ``lca``."""

        hidden: int = Field(300, ge=2, description="atoms")
        threshold: float = Field(0.1, gt=0, description="penalty of a unit's activity")
        steps: int = Field(50, ge=1, description="steps of the dynamics")
        signed: bool = Field(False, description="activities of both signs")
        non_negative: bool = Field(False, description="atoms have no negative entries")
        lr: float = Field(
            0.5, gt=0, le=1, description="rate of the dictionary; falls linearly to zero"
        )
        epochs: int = Field(
            5, ge=0, description="passes over the training images for the dictionary"
        )

    config: Config

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Random atoms of length one."""
        draw = torch.rand if self.config.non_negative else torch.randn
        return F.normalize(draw(n, self.config.hidden, generator=generator), dim=0)

    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Take one step on a batch of flat images."""
        x = F.normalize(x, dim=1)
        a = settle(x, weight, time_constant(weight), **self.dynamics)
        power = a.square().mean(0).clamp_min(SMALLEST)
        error = x - a @ weight.T
        step = error.T @ a / len(x) / power
        used = (a != 0).any(0)
        weight.add_(step * used * (self.config.lr * (1 - done)))
        if self.config.non_negative:
            weight.clamp_(min=0)
        weight.copy_(F.normalize(weight, dim=0))

    @property
    def dynamics(self) -> dict[str, Any]:
        """Threshold, steps and sign, as ``settle`` takes them."""
        config = self.config
        return {"threshold": config.threshold, "steps": config.steps, "signed": config.signed}

    def code(self, weight: torch.Tensor) -> nn.Module:
        """The activities after ``steps``."""
        from harness.learning.nets import FrozenFunction

        tensors = {"weight": weight, "tau": time_constant(weight)}
        return FrozenFunction(_code, tensors, **self.dynamics)

    def connectome(self) -> list[Synapses]:
        """The dictionary, and the read-out if it was trained."""
        first, *rest = super().connectome()
        enforced = self.config.non_negative
        return [Synapses(first.name, first.weight, enforced=enforced), *rest]


def time_constant(weight: torch.Tensor) -> torch.Tensor:
    """The smallest stable tau, a scalar of at least one."""
    largest = torch.linalg.eigvalsh(weight.T @ weight)[-1]
    return (largest / STABLE).clamp_min(1.0)


def settle(
    x: torch.Tensor,
    weight: torch.Tensor,
    tau: torch.Tensor,
    *,
    threshold: float,
    steps: int,
    signed: bool,
) -> torch.Tensor:
    """Activities (B, atoms) of images x (B, n), from rest."""
    drive = x @ weight
    inhibition = weight.T @ weight
    inhibition = inhibition - torch.eye(len(inhibition), dtype=x.dtype, device=x.device)
    u = torch.zeros_like(drive)
    a = u
    for _ in range(steps):
        u = u + (drive - u - a @ inhibition) / tau
        a = F.softshrink(u, threshold) if signed else F.relu(u - threshold)
    return a


def _code(
    images: torch.Tensor,
    tensors: dict[str, torch.Tensor],
    threshold: float,
    steps: int,
    signed: bool,
) -> torch.Tensor:
    x = F.normalize(images.flatten(1), dim=1)
    return settle(
        x, tensors["weight"], tensors["tau"], threshold=threshold, steps=steps, signed=signed
    )
