"""Check: more steps break nothing more."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import CONVERGED
from harness.registry import checks


@checks.register("converged")
class Converged(Check):
    """The same attack with twice the steps takes almost nothing more from the nearest survivors.

    Of several losses the one that got furthest on them is climbed again.
    """

    order = 100

    def applies(self, context: CheckContext) -> bool:
        """If the attack has steps to double."""
        return context.middle >= 0 and context.attack.stronger() is not None

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that doubled steps take."""
        eps = context.middle_eps
        stronger = context.attack.stronger()
        assert stronger is not None  # else the check does not apply
        rows = context.nearest_survivors(context.sample_size(20))
        changes: dict[str, Any] = {"eps": [eps]}
        if context.attack.restarts > 1:
            changes["restarts"] = 1
        losses = getattr(stronger.config, "loss", [])
        if len(losses) > 1:
            changes["loss"] = [_furthest(context, losses, rows)]
        once = type(stronger)(stronger.config.model_copy(update=changes))
        taken = context.taken_by(once, rows, eps)
        return CONVERGED.level(taken.accuracy), f"doubled steps {taken.words}"


def _furthest(context: CheckContext, losses: list[str], rows: np.ndarray) -> str:
    """The loss that led the sweep to the smallest margins of these samples."""
    margins = context.result.margin[context.middle][..., rows]
    # A verdict that was carried from another eps has no margin here.
    reached = np.where(np.isnan(margins), np.inf, margins).mean((1, 2))
    return losses[int(reached.argmin()) % len(losses)]
