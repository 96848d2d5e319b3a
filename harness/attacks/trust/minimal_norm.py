"""Check: the curve of a minimal-norm attack is not above that of an attack with a fixed budget."""

from __future__ import annotations

import numpy as np

from harness.attacks.pgd import PGD
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import CONVERGED
from harness.registry import checks

STEPS = 20
"""Steps of PGD, as many as the usual fixed-budget attack takes."""


@checks.register("minimal norms small enough")
class MinimalNorm(Check):
    """PGD within the budget breaks almost nothing that the minimal-norm attack left.

    Such an attack overshoots where its steps are too long or too few: the norms that it finds are
    then too large, at every eps alike. It is compared where its curve is steepest, on the samples
    whose norms are nearest above the budget, and those for which it found nothing.
    """

    order = 105

    def applies(self, context: CheckContext) -> bool:
        """If the attack looks for the smallest perturbation, in a norm in which PGD can be run."""
        return context.attack.minimal and context.pgd_has_norm and context.middle >= 0

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that PGD takes."""
        place = context.middle
        eps = context.middle_eps
        config = context.attack.config
        pgd = PGD.of(
            norm=config.norm,
            eps=[eps],
            steps=STEPS,
            loss=["ce", "margin"],
            samples=config.samples,
            backward=getattr(config, "backward", "exact"),
        )
        # A failure returns the image itself, with norm 0: those come first.
        rows = np.flatnonzero(context.result.worst[place])
        nearest = context.nearest(rows, context.result.norm[place], context.sample_size(10))
        taken = context.taken_by(pgd, nearest, eps)
        return CONVERGED.level(taken.accuracy), f"PGD-{STEPS} {taken.words}"
