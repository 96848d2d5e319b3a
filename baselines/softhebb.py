"""SoftHebb: soft winner-take-all Hebbian learning, with a trained read-out."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.hebbian import HebbianConfig, soft_code
from harness.learning.hebbian_steps import losers_unlearn
from harness.learning.hebbian_stream import StreamingHebbianLearner
from harness.registry import learners

SMALLEST = 1e-30


@learners.register("softhebb", family="Hebbian")
class SoftHebb(StreamingHebbianLearner):
    """SoftHebb (Moraitis et al. 2022; Journe et al. 2023): a soft winner-take-all and a read-out.

    With x the image at length one, u = w . x and y = softmax(u / tau), every unit changes by

        dw = eta y (x - u w)                (Moraitis et al. 2022, eq. 5; Journe et al. 2023, eq. 2)

    averaged over the batch and divided by its largest entry. With ``anti``, y counts as negative
    for all units but the winner. With ``adaptive``, a unit's rate is eta |1 - norm(w)|^0.5 (Journe
    et al. 2023, eq. 5): weights converge to length one, and a unit that has converged stops.
    """

    typical_training_s = 250.0

    class Config(HebbianConfig):
        """Keys of ``softhebb``."""

        tau: float = Field(
            0.02, gt=0, description="temperature of the soft winner-take-all in training"
        )
        code_tau: float = Field(0.1, gt=0, description="temperature of the code that is read out")
        radius: float = Field(
            5.0,
            gt=0,
            description="length of a unit's weights before it learns; above one, units that have "
            "not learned yet keep competing",
        )
        anti: bool = Field(
            False, description="units other than the winner unlearn, in proportion to y"
        )
        lr: float = Field(
            0.3,
            gt=0,
            description="rate eta of the largest change of a weight; falls linearly to zero",
        )
        adaptive: bool = Field(
            True, description="rates fall as a unit's weights approach length one"
        )

    config: Config

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Normal weights of about length ``radius``."""
        normal = torch.randn(n, self.config.hidden, generator=generator)
        return normal * (self.config.radius / n**0.5)

    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Take one step on a batch of flat images."""
        x = F.normalize(x, dim=1)
        u = x @ weight
        y = torch.softmax(u / self.config.tau, 1)
        if self.config.anti:
            y = losers_unlearn(y, u)
        step = (x.T @ y).sub_((y * u).sum(0) * weight)
        step *= self.config.lr * (1 - done) / step.abs().max().clamp_min(SMALLEST)
        if self.config.adaptive:
            step *= (1 - weight.norm(dim=0)).abs().sqrt()
        weight.add_(step)

    def code(self, weight: torch.Tensor) -> nn.Module:
        """softmax(u / code_tau)."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(soft_code, {"weight": weight}, tau=self.config.code_tau)
