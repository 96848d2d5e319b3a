"""Check: the parts of an attack that follow gradients leave nothing to a random search."""

from __future__ import annotations

from harness import budgets
from harness.attacks.engine.parts import shares
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import WEAKER, Threshold
from harness.registry import checks

SEARCH = "square"
"""The part that sees outputs only."""


@checks.register("parts")
class Parts(Check):
    """What each part of AutoAttack broke; Square, which comes last, should find nothing more.

    If it does, gradients are masked somewhere, and a stronger search may find more still (Croce &
    Hein 2020, section 6).
    """

    order = 135

    def applies(self, context: CheckContext) -> bool:
        """If one of the attack's parts is a random search."""
        return context.middle >= 0 and SEARCH in context.result.objectives

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that the random search took."""
        result = context.result
        broken = shares(result.correct, result.objectives)[context.middle]
        of_parts = ", ".join(f"{name} {100 * share:.1f}" for name, share in broken.items())
        detail = f"points taken at eps {budgets.words(context.middle_eps)}: {of_parts}"
        # One sample alone is an accident.
        taken = broken[SEARCH] - 1 / len(context.images)
        return Threshold(WEAKER, 1.0).level(taken), detail
