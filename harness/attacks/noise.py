"""Random noise: what a network withstands without an adversary.

Copy this file to add an attack that uses no gradient; copy ``fgsm.py`` for one that does.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.attacks.base import Attack, Candidates, Task
from harness.attacks.config import AttackConfig, grid_words
from harness.attacks.engine.geometry import apply_delta, random_in_ball
from harness.attacks.engine.victim import Victim
from harness.registry import attacks


@attacks.register("noise")
class Noise(Attack):
    """Uniform random points of the ball; the worst of several draws counts (black box)."""

    class Config(AttackConfig):
        """Keys of noise."""

        norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
        draws: int = Field(10, ge=1, le=10_000, description="points tried for each sample")

    config: Config

    @property
    def climbs(self) -> tuple[str, ...]:
        """No loss: a black-box attack."""
        return ()

    @property
    def restarts(self) -> int:
        """One run for each draw."""
        return self.config.draws

    def words(self) -> str:
        """Describe its settings."""
        return f"{grid_words(self.config)}, worst of {self.config.draws} uniform points of the ball"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Add one random perturbation to every image."""
        images = task.images
        norm = self.config.norm
        shape = tuple(images.shape[1:])
        noise = random_in_ball(task.rng, task.identity, task.restart, shape, norm, task.eps)
        return Candidates(apply_delta(images, noise.to(images.device), norm))
