"""The Square attack as one of a sweep: random search, without gradients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.attacks.base import Attack, AttackConfig, Attempt, Trial, grid_words
from harness.attacks.engine import blackbox
from harness.attacks.engine.victim import Victim
from harness.registry import attacks


@attacks.register("square")
class Square(Attack):
    """Square attack on the margin (black box): random squares are kept where they hurt (Andriushchenko et al. 2020)."""

    class Config(AttackConfig):
        """Keys of Square."""

        norm: Literal["linf"] = Field("linf", description="linf")
        queries: int = Field(1000, ge=1, le=10_000, description="forward passes a sample")

    @property
    def climbs(self) -> tuple[str, ...]:
        return ()

    def words(self) -> str:
        return f"{grid_words(self.config)}, {self.config.queries} queries, margin loss"

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        return Attempt(blackbox.square(victim, trial, self.config.queries))
