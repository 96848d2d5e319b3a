"""Check: adversarial images of other networks, trained on the same images, break few survivors."""

from __future__ import annotations

import numpy as np

from harness.attacks.base import Objective, Task
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.class_means import from_class_means
from harness.attacks.engine.victim import Victim, judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.survivors import Broken
from harness.lazy import nn, torch
from harness.registry import checks

STEPS = 10


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
        targeted = context.attack.config.target is not None

        def breaks(rows: np.ndarray, place: int) -> np.ndarray:
            task = context.task(rows, context.result.eps[place], Objective("margin"))
            norm = context.attack.config.norm
            moved = [_of_relative(each, task, norm) for each in context.relatives.values()]
            if not targeted:  # else there is one label, and one mean
                moved.append(from_class_means(context.images, context.labels, task, norm))
            correct = [judge(context.victim.logits(each), task.labels)[0] for each in moved]
            survived: np.ndarray = torch.stack(correct).all(0).cpu().numpy()
            return ~survived

        broken = Broken.by(context, breaks)
        means = [] if targeted else ["class means"]
        names = ", ".join([*means, *context.relatives])
        # Transfer may well be stronger than a single step.
        single_step = context.attack.stronger() is None
        level = "WARN" if broken.level == "FAIL" and single_step else broken.level
        return level, f"from {names}: {broken.words}"


def _of_relative(relative: nn.Module, task: Task, norm: str) -> torch.Tensor:
    """Adversarial images of a relative, float32 like the task's images."""
    return projected_ascent(
        Victim(relative),
        task,
        norm=norm,
        steps=STEPS,
        step_size=task.eps / 4,
        random_start=False,
        best=False,
    ).adversarial
