"""Strong: cross-entropy, then the margin towards every wrong class.

An untargeted attack follows the class that is nearest now, and leaves images that only a longer way
to another class would break: on a linear classifier, up to three points. One run towards every
wrong class is exact there, as each climbs a linear function.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.attacks.apgd import APGD
from harness.attacks.base import Attack, Candidates, Objective, Task
from harness.attacks.config import AttackConfig, grid_words
from harness.attacks.engine.in_turn import in_turn, runners_up, started, towards
from harness.attacks.engine.victim import Backward, Victim
from harness.lazy import torch
from harness.registry import attacks

PARTS = ("ce", "margin")
"""Untargeted cross-entropy, and the margin towards every wrong class."""


@attacks.register("strong")
class Strong(Attack):
    """Auto-PGD on cross-entropy, then on the margin towards every wrong class."""

    reports_parts: ClassVar[bool] = True

    class Config(AttackConfig):
        """Keys of the preset."""

        norm: Literal["linf", "l2"] = Field("linf", description="linf or l2")
        steps: int = Field(50, ge=2, le=10_000, description="gradient steps of each run")
        backward: Backward = Field(
            "exact", description="straight-through: rounding and steps pass a gradient on (BPDA)"
        )

    config: Config

    @property
    def name(self) -> str:
        """With the number of steps."""
        return f"{self.kind}-{self.config.steps}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The parts."""
        return tuple(map(Objective, PARTS))

    def words(self) -> str:
        """Describe its settings."""
        return (
            f"{grid_words(self.config)}, APGD of {self.config.steps} steps on cross-entropy, "
            "then on the margin towards every wrong class, a random start each"
        )

    def stronger(self) -> Strong:
        """The same attack with twice the steps."""
        return Strong(self.config.model_copy(update={"steps": 2 * self.config.steps}))

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Run the part that the objective names."""
        config = self.config
        apgd = APGD.of(norm=config.norm, eps=config.eps, steps=config.steps)
        if task.objective.loss == PARTS[0]:
            return apgd.perturb(victim, task)
        runs = towards(task, "margin", runners_up(victim, task))

        def climb(run: Task) -> torch.Tensor:
            return apgd.perturb(victim, run).adversarial

        points = in_turn(victim, task, started(runs, config.norm), climb, together=True)
        return Candidates(points)
