"""Check: perturbed images respect the budget and the pixel range."""

from __future__ import annotations

import numpy as np

from harness.attacks.engine.sweep import SKIPPED
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import OUTSIDE
from harness.registry import checks


@checks.register("inside the budget and the box")
class InsideBudget(Check):
    """Every perturbed image that counts is within eps of the original and within [0, 1]."""

    order = 30

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the largest distance outside the ball or the box."""
        result = context.result
        excess = result.norm - np.array(result.eps, np.float32)[:, None, None, None]
        attacked = result.correct != SKIPPED
        broken = result.correct == 0
        # For a minimal attack, too large a perturbation is a failed attack, not a violation.
        counted = broken if context.attack.minimal else attacked
        over = float(excess[counted].max(initial=0))
        outside = max(result.outside, 0.0)
        worst = max(over, result.outside, 0.0)
        detail = f"norm - eps at most {over:.2g}, outside the box by {outside:.2g}"
        return OUTSIDE.level(worst), detail
