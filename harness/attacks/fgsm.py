"""FGSM (Goodfellow et al. 2015, eq. 1); in L2 the fast gradient method (Miyato et al. 2017); in L1 the pixels with the
largest gradients go to the end of the box, one after the other, until eps is spent: exact on a linear network.
"""

from __future__ import annotations

from harness.attacks.base import Attack, Attempt, GradientConfig, Objective, Trial, grid_words
from harness.attacks.engine.ascent import ascend
from harness.attacks.engine.victim import Victim
from harness.registry import attacks


@attacks.register("fgsm")
class FGSM(Attack):
    """One gradient step of size eps from the clean image."""

    class Config(GradientConfig):
        """The common keys are all it has."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return tuple(map(Objective, self.config.loss))

    def words(self) -> str:
        return f"{grid_words(self.config)}, loss {' + '.join(self.config.loss)}, 1 step of eps, no random start"

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        cold = Trial(
            **{**vars(trial), "start": None}
        )  # the gradient of FGSM is the clean image's at every eps
        attempt = ascend(
            victim,
            cold,
            norm=self.config.norm,
            steps=1,
            step_size=trial.eps,
            random_start=False,
            best=False,
        )
        return Attempt(attempt.adversarial)
