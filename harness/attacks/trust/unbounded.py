"""Check: with an unlimited budget accuracy falls to chance."""

from __future__ import annotations

from harness.attacks.pgd import PGD
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import Threshold
from harness.registry import checks

HALF_THE_BOX = 0.5
"""At this Linf budget every image can be turned into the same grey, so a survivor is masked."""


WHOLE_BOX = 1.0
"""At this one every image can be turned into every other, one of the target class among them."""


@checks.register("unbounded")
class Unbounded(Check):
    """With half the pixel range as budget no network is better than chance."""

    order = 60

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that is left."""
        robust = context.result.worst[-1]
        rows = context.pick(robust, context.sample_size(10, 100), "unbounded")
        losses = list(context.attack.climbs) or ["margin"]
        budget = HALF_THE_BOX if context.attack.config.target is None else WHOLE_BOX
        pgd = PGD.of(eps=[budget], steps=10, loss=losses)
        survived = context.survives(pgd, rows)
        _, logits = context.clean_sample
        chance = 1 / logits.shape[1]
        accuracy = float(robust.mean() * survived.mean()) if len(rows) else 0.0
        detail = (
            f"accuracy {100 * accuracy:.1f} % at linf {budget:g}, "
            f"chance {100 * chance:.1f} %: PGD-10 on {len(rows)} survivors"
        )
        return Threshold(chance, chance).level(accuracy), detail
