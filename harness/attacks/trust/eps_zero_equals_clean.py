"""Check: verdicts without an attack agree, however they are computed."""

from __future__ import annotations

import numpy as np

from harness.attacks.base import Objective
from harness.attacks.engine.victim import judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import FLIPS, TIE, Threshold
from harness.registry import checks


@checks.register("eps 0 equals clean")
class EpsZeroEqualsClean(Check):
    """Clean verdicts are the same in other batches, and a budget of 0 breaks nothing."""

    order = 10

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the number of clean verdicts that changed."""
        rows, _ = context.clean_sample
        differ = _differing(context)
        moved = 0
        tried = np.zeros(0, int)
        if not context.attack.minimal:
            tried = context.pick(context.result.clean, 16, "eps 0")
            moved = _broken_at_zero(context, tried)
        tolerated = FLIPS * (len(rows) + len(tried)) if context.victim.stochastic else 0
        detail = (
            f"{differ} of {len(rows)} clean verdicts differ in other batches; "
            f"eps 0 breaks {moved} of {len(tried)}"
        )
        return Threshold(0, tolerated).level(differ + moved), detail


def _differing(context: CheckContext) -> int:
    """How many clean verdicts differ between the sweep and batches of other sizes."""
    rows, logits = context.clean_sample
    correct, margin = judge(logits, context.labels[context.index(rows)])
    # Other batches run other kernels, whose rounding may decide a tie: that is no disagreement.
    tie = margin.abs() <= TIE * logits.abs().amax(1).clamp_min(1)
    differ = (correct.cpu().numpy() != context.result.clean[rows]) & ~tie.cpu().numpy()
    return int(differ.sum())


def _broken_at_zero(context: CheckContext, rows: np.ndarray) -> int:
    """How many samples the attack breaks with a budget of 0, which the sweep itself never runs."""
    if not len(rows):
        return 0
    task = context.task(rows, 0.0, Objective(context.attack.objectives[0].loss))
    adversarial = context.attack.perturb(context.victim, task).adversarial
    correct, _ = judge(context.victim.logits(adversarial), task.labels)
    return int((~correct).sum())
