"""PGD through several surrogate slopes, for spiking networks.

A spike has no gradient; a network of spikes is attacked through the slope of a smooth step, and
which one is good is not known beforehand. One slope therefore overstates robustness. The verdict
is always that of the spiking network itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, field_validator

from harness.attacks.base import Candidates, Objective, Task
from harness.attacks.config import Problem, config_error
from harness.attacks.engine.victim import Victim
from harness.attacks.pgd import PGD
from harness.learning.spikes import Slope, through
from harness.registry import attacks

OWN = "own"
SLOPES = [
    OWN,
    "reset",
    "fast-sigmoid-25",
    "fast-sigmoid-5",
    "sigmoid-25",
    "sigmoid-5",
    "rectangle-20",
    "rectangle-2",
]
"""Own slope, own slope with gradients through resets, and three kinds in two widths each."""


@dataclass(frozen=True)
class SlopedObjective(Objective):
    """A loss, and the slope through which it is climbed.

    Attributes:
        slope: As ``Slope.parse`` reads it.
    """

    slope: str = OWN

    def __str__(self) -> str:
        loss = super().__str__()
        return loss if self.slope == OWN else f"{loss} through {self.slope}"


@attacks.register("pgd-slopes")
class PGDSlopes(PGD):
    """PGD on a spiking network through several surrogate slopes; the worst over them counts.

    The network's own slope comes first, which is PGD. A network without surrogate slopes is only
    attacked the same way several times.
    """

    class Config(PGD.Config):
        """Keys of PGD, and the slopes."""

        through: list[str] = Field(
            SLOPES,
            min_length=1,
            description="slopes of the backward pass: own, reset (own, and through resets too), or "
            "fast-sigmoid, sigmoid, arctan, rectangle with a steepness, e.g. sigmoid-5",
        )

        @field_validator("through")
        @classmethod
        def _are_slopes(cls, slopes: list[str]) -> list[str]:
            problems: list[Problem] = []
            for place, slope in enumerate(slopes):
                try:
                    Slope.parse(slope)
                except ValueError as error:
                    problems.append(((place,), str(error), slope))
                if slope in slopes[:place]:
                    problems.append(((place,), f"duplicate slope {slope!r}", slope))
            if problems:
                raise config_error(problems)
            return slopes

    config: Config

    @property
    def name(self) -> str:
        """With the number of steps."""
        return f"pgd-slopes-{self.config.steps}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Those of PGD through the first slope, then through the second, and so on."""
        return tuple(
            SlopedObjective(objective.loss, objective.target, slope)
            for slope in self.config.through
            for objective in super(PGDSlopes, self).objectives
        )

    def words(self) -> str:
        """Describe its settings."""
        return f"{super().words()}, through {', '.join(self.config.through)}"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """PGD through the objective's slope; through the network's own if it names none."""
        slope = getattr(task.objective, "slope", OWN)
        with through(Slope.parse(slope)):
            return super().perturb(victim, task)
