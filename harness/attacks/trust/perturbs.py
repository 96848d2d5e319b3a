"""Check: the attack changes the images."""

from __future__ import annotations

import numpy as np

from harness.attacks.engine.sweep import SKIPPED
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import UNPERTURBED, UNPERTURBED_ON_FAILURE
from harness.registry import checks


@checks.register("perturbs")
class Perturbs(Check):
    """An attack that returns the images that it was given measures nothing."""

    order = 40

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the share of runs whose perturbation is zero."""
        result = context.result
        positive = (np.array(result.eps) > 0)[:, None, None, None]
        attacked = (result.correct != SKIPPED) & positive
        unchanged = float((result.norm[attacked] == 0).mean()) if attacked.any() else 0.0
        detail = f"{100 * unchanged:.1f} % of {int(attacked.sum())} runs changed nothing"
        limit = UNPERTURBED_ON_FAILURE if context.attack.keeps_failures else UNPERTURBED
        return limit.level(unchanged), detail
