"""Check: adversarial images of other networks, trained on the same images, break few survivors."""

from __future__ import annotations

import numpy as np

from harness.attacks.engine.victim import judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.survivors import Broken
from harness.lazy import torch
from harness.registry import checks


@checks.register("relative not stronger")
class RelativeNotStronger(Check):
    """Transfer from class means, and networks that hide nothing, breaks few of the survivors.

    It asks nothing of the network but verdicts, so no gradient and no score misleads it (Papernot
    et al. 2017).
    """

    order = 132

    def applies(self, context: CheckContext) -> bool:
        """If PGD could be run in the same ball, and there is something to transfer from."""
        targeted = context.attack.config.target is not None
        return context.comparable_to_pgd and not (targeted and not context.relatives)

    def judge(self, context: CheckContext) -> Judgement:
        """Judge how many survivors all relatives break together, at two budgets."""
        names = ", ".join(context.transfers.delta)
        if not names:
            return "PASS", "no survivors"

        def breaks(rows: np.ndarray, place: int) -> np.ndarray:
            labels = context.labels[context.index(rows)]
            moved = context.transfers.at(rows, context.result.eps[place])
            correct = [judge(context.victim.logits(each), labels)[0] for each in moved.values()]
            survived: np.ndarray = torch.stack(correct).all(0).cpu().numpy()
            return ~survived

        broken = Broken.by(context, breaks)
        # Transfer may well be stronger than a single step.
        single_step = context.attack.stronger() is None
        level = "WARN" if broken.level == "FAIL" and single_step else broken.level
        return level, f"from {names}: {broken.words}"
