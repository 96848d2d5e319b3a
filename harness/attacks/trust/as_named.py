"""Check: the attack did what its name says."""

from __future__ import annotations

from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.registry import checks


@checks.register("as named")
class AsNamed(Check):
    """Warns of everything that the attack replaced, e.g. because there are too few classes."""

    order = 160

    def applies(self, context: CheckContext) -> bool:
        """If the attack replaced anything."""
        return bool(_replaced(context))

    def judge(self, context: CheckContext) -> Judgement:
        """Name what was replaced."""
        return "WARN", "; ".join(_replaced(context))


def _replaced(context: CheckContext) -> list[str]:
    _, logits = context.clean_sample
    return context.attack.notes(logits)
