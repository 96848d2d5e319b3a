"""Check: warns if only the network's outputs were used."""

from __future__ import annotations

from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.registry import checks


@checks.register("upper bound: no gradient attack")
class NoGradientAttack(Check):
    """A black-box attack gives an upper bound of robustness only, and always gets this warning."""

    order = 90

    def applies(self, context: CheckContext) -> bool:
        """If the attack climbs no loss."""
        return not context.attack.climbs

    def judge(self, context: CheckContext) -> Judgement:
        """Warn, always."""
        return "WARN", "only outputs were seen: a gradient may break more"
