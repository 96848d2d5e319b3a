"""Random noise: what a network withstands without an adversary. A sanity check for the others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.attacks.base import Attack, AttackConfig, Attempt, Trial, grid_words
from harness.attacks.engine.geometry import moved, random_in_ball
from harness.attacks.engine.victim import Victim
from harness.registry import attacks


@attacks.register("noise")
class Noise(Attack):
    """Uniform random points of the ball; the worst of several draws counts (black box)."""

    class Config(AttackConfig):
        """Keys of noise."""

        norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
        draws: int = Field(10, ge=1, le=10_000, description="points tried a sample")

    @property
    def climbs(self) -> tuple[str, ...]:
        return ()

    @property
    def restarts(self) -> int:
        return self.config.draws

    def words(self) -> str:
        return f"{grid_words(self.config)}, worst of {self.config.draws} uniform points of the ball"

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        images = trial.images
        noise = random_in_ball(
            trial.rng,
            trial.identity,
            trial.restart,
            tuple(images.shape[1:]),
            self.config.norm,
            trial.eps,
        )
        return Attempt(moved(images, noise.to(images.device), self.config.norm))
