"""Check: a single step does not beat an iterated attack."""

from __future__ import annotations

from harness.attacks.fgsm import FGSM
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import FGSM_STRONGER
from harness.registry import checks


@checks.register("at least as strong as FGSM")
class FgsmNotStronger(Check):
    """FGSM takes almost nothing from the nearest survivors of an iterated attack."""

    order = 140

    def applies(self, context: CheckContext) -> bool:
        """If the attack is iterated, in a ball in which FGSM can be run."""
        return context.comparable_to_pgd and context.attack.stronger() is not None

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that FGSM takes."""
        eps = context.middle_eps
        fgsm = FGSM.of(norm=context.attack.config.norm, eps=[eps])
        rows = context.nearest_survivors(context.sample_size(10))
        taken = context.taken_by(fgsm, rows, eps)
        # One sample alone is an accident.
        accuracy = taken.accuracy if taken.broken > 1 else 0
        return FGSM_STRONGER.level(accuracy), f"FGSM {taken.words}"
