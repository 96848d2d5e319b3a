"""Check: the attack left the network unchanged."""

from __future__ import annotations

from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import CHANGED_PARTS
from harness.registry import checks


@checks.register("model left as found")
class LeftAsFound(Check):
    """Weights, flags, gradients and global random states are the same after the sweep."""

    order = 1000

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the number of changed parts."""
        changed = context.result.changed
        return CHANGED_PARTS.level(len(changed)), ", ".join(changed) or "nothing changed"
