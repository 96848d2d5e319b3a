"""Check: no step or rounding hides the gradient."""

from __future__ import annotations

from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.registry import checks


@checks.register("non-differentiable parts")
class NonDifferentiableParts(Check):
    """No function before the logits jumps, unless the attack gives it a surrogate gradient."""

    order = 80

    def applies(self, context: CheckContext) -> bool:
        """If the attack climbs a loss."""
        return bool(context.attack.climbs)

    def judge(self, context: CheckContext) -> Judgement:
        """Judge whether anything jumps without a surrogate gradient."""
        jumps = context.surrogates.jumps()
        if not jumps:
            return "PASS", ", ".join(_harmless(context)) or "none"
        names = ", ".join(jumps)
        if context.attack.view.backward == "straight-through":
            return "PASS", f"{names}: attacked straight through"
        return "FAIL", f"{names}: no surrogate gradient; use backward: straight-through"


def _harmless(context: CheckContext) -> list[str]:
    """Functions without a gradient that hide nothing, with the reason."""
    cut = context.surrogates.cut()
    return [
        f"{part} (surrogate declared, or no effect)" if part in cut else f"{part} (no jump)"
        for part in context.surrogates.seen
    ]
