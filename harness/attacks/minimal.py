"""What FMN and FAB share: they look for the smallest misleading perturbation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from harness.attacks.base import Attack
from harness.attacks.config import AttackConfig, view_words
from harness.attacks.engine.victim import Backward


class MinimalConfig(AttackConfig):
    """Keys of every minimal-norm attack."""

    norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
    steps: int = Field(description="gradient steps")
    backward: Backward = Field(
        "exact", description="straight-through: rounding and steps pass a gradient on (BPDA)"
    )


class Minimal(Attack):
    """An attack on the margin without a budget: one run serves every eps."""

    keeps_failures = True

    config: MinimalConfig

    @property
    def name(self) -> str:
        """With the number of steps."""
        return f"{self.kind}-{self.config.steps}"

    @property
    def climbs(self) -> tuple[str, ...]:
        """The margin."""
        return ("margin",)

    @property
    def minimal(self) -> bool:
        """It looks for the smallest perturbation."""
        return True

    @property
    def found_words(self) -> str:
        """What counts as broken, in words."""
        view = view_words(self.config)
        return f"smallest perturbation found, counted where its norm is within eps{view}"

    def stronger(self) -> Self:
        """The same attack with twice the steps."""
        return type(self)(self.config.model_copy(update={"steps": 2 * self.config.steps}))
