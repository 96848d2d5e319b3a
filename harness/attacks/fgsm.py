"""FGSM: one gradient step of size eps.

Linf: Goodfellow et al. 2015, eq. 1. L2: the fast gradient method (Miyato et al. 2017). L1: the
pixels with the largest gradients move to the end of the box, one after the other, until eps is
spent, which is exact on a linear network.

Copy this file to add an attack that uses gradients; copy ``noise.py`` for one that does not.
"""

from __future__ import annotations

from dataclasses import replace

from harness.attacks.base import Attack, Candidates, Objective, Task
from harness.attacks.config import GradientConfig, grid_words
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.victim import Victim
from harness.registry import attacks


@attacks.register("fgsm")
class FGSM(Attack):
    """One gradient step of size eps from the clean image."""

    class Config(GradientConfig):
        """Keys of FGSM: the common ones."""

    config: Config

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Each loss, untargeted."""
        return tuple(map(Objective, self.config.loss))

    def words(self) -> str:
        """Describe its settings."""
        losses = " + ".join(self.config.loss)
        return f"{grid_words(self.config)}, loss {losses}, 1 step of eps, no random start"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Step along the gradient at the clean image, whatever the start at a smaller eps was."""
        candidates = projected_ascent(
            victim,
            replace(task, start=None),
            norm=self.config.norm,
            steps=1,
            step_size=task.eps,
            random_start=False,
            best=False,
        )
        return Candidates(candidates.adversarial)
