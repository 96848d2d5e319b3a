"""Check: the scale of the logits hides nothing from cross-entropy."""

from __future__ import annotations

import numpy as np

from harness import budgets
from harness.attacks.pgd import PGD
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import SCALE, UNDECIDED
from harness.records import Trust
from harness.registry import checks


@checks.register("scale")
class Scale(Check):
    """PGD on rescaled logits breaks nothing that the sweep missed.

    Cross-entropy is compared with itself on logits of unit spread, from the same starts. The
    check judges how many more samples rescaling breaks, among those that the sweep also missed.
    """

    order = 110

    def applies(self, context: CheckContext) -> bool:
        """If PGD could be run in the same ball."""
        return context.comparable_to_pgd

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the share of samples that only fall to rescaled logits."""
        rows = context.pick(context.result.clean, context.sample_size(20, 50), "scale")
        if not len(rows):
            return "PASS", "no image is correct without an attack"
        steps = 1 if context.attack.stronger() is None else 10
        robust = rows[context.result.worst[context.middle][rows]]
        broken = (~_survives(context, "ce-norm", steps, robust)).sum()
        missed = float(broken / len(rows))
        lost = missed
        detail = (
            f"logits rescaled, PGD-{steps} breaks {100 * missed:.0f} % of {len(rows)} "
            f"at eps {budgets.words(context.middle_eps)} that the sweep missed"
        )
        if missed > SCALE.warn:  # otherwise cross-entropy alone cannot change the judgement
            raw = _survives(context, "ce", steps, rows).mean()
            rescaled = _survives(context, "ce-norm", steps, rows).mean()
            lost = min(missed, float(raw - rescaled))
            detail += f"; {100 * raw:.0f} % withstand CE, {100 * rescaled:.0f} % rescaled logits"
        odd_level, odd_detail = _odd_logits(context)
        level = max(odd_level, SCALE.level(lost), key=("PASS", "WARN", "FAIL").index)
        return level, detail + odd_detail


def _survives(context: CheckContext, loss: str, steps: int, rows: np.ndarray) -> np.ndarray:
    """Which of ``rows`` withstand PGD on one loss at the middle eps."""
    pgd = PGD.of(
        norm=context.attack.config.norm,
        eps=[context.middle_eps],
        steps=steps,
        step_size=2.5 / steps,
        loss=[loss],
    )
    return context.survives(pgd, rows)


def _odd_logits(context: CheckContext) -> tuple[Trust, str]:
    """What is odd about the logits, if the attack climbs cross-entropy only.

    On probabilities cross-entropy still points uphill. On logits near zero it raises all wrong
    classes alike, which makes a weak attack.
    """
    if set(context.attack.climbs) != {"ce"}:
        return "PASS", ""
    rows, logits = context.clean_sample
    sums_to_one = (logits.sum(1) - 1).abs() < 1e-3
    if bool((logits >= 0).all()) and bool(sums_to_one.all()):
        return "WARN", "; outputs are probabilities, not logits"
    confidence = float(logits.softmax(1).amax(1).median())
    mostly_right = context.result.clean[rows].mean() > 0.5
    if mostly_right and confidence <= UNDECIDED / logits.shape[1]:
        return (
            "FAIL",
            f"; logits are near zero: median confidence {confidence:.2f}, "
            "as good as undecided, though mostly right",
        )
    return "PASS", ""
