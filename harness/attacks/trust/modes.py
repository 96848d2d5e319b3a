"""Check: a bisecting sweep leaves no more than a nested one."""

from __future__ import annotations

from harness.attacks.engine.bisection import first_bisected
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import CONVERGED
from harness.registry import checks


@checks.register("nested sweep not stronger")
class NestedNotStronger(Check):
    """The same attack, climbing the grid from the smallest eps, breaks almost nothing more.

    A nested sweep starts at each eps where the next smaller one ended. Where gradients are masked,
    these starts reach adversaries that others miss. Both are compared at the eps where bisection
    begins, which decides about all smaller ones. The worst of both sweeps is reported.
    """

    order = 155

    def applies(self, context: CheckContext) -> bool:
        """If the sweep bisected, and there is a smaller eps to start from."""
        if context.attack.config.sweep != "bisect" or context.attack.minimal:
            return False
        place = first_bisected(context.result.eps)
        return any(eps > 0 for eps in context.result.eps[:place])

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that a nested sweep takes from the nearest survivors."""
        place = first_bisected(context.result.eps)
        eps = context.result.eps[place]
        grid = [smaller for smaller in context.result.eps[: place + 1] if smaller > 0]
        config = context.attack.config.model_copy(update={"eps": grid, "sweep": "nested"})
        rows = context.result.worst[place].nonzero()[0]
        nearest = context.nearest(rows, context.result.margin[place], context.sample_size(20))
        taken = context.taken_by(type(context.attack)(config), nearest, eps)
        worst = context.result.accuracy()[place] - taken.accuracy
        words = f"a nested sweep {taken.words}; worst of both {100 * worst:.1f} %"
        return CONVERGED.level(taken.accuracy), words
