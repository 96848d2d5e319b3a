"""Check: verdicts that a bisecting sweep carried down to smaller eps are right."""

from __future__ import annotations

import numpy as np

from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import CONVERGED
from harness.registry import checks


@checks.register("verdicts carried down")
class CarriedDown(Check):
    """The attack breaks almost none of the samples that it was not tried on at a smaller eps.

    True robustness cannot be lower at a smaller budget, but an attack's success may be higher. The
    attack is run on the samples of smallest margin, at the eps where most verdicts were carried.
    """

    order = 150

    def applies(self, context: CheckContext) -> bool:
        """If the sweep carried any verdict to a smaller eps."""
        return context.attack.config.sweep == "bisect" and bool(context.carried.any())

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the accuracy that the attack takes from carried verdicts."""
        place = int(context.carried.sum(1).argmax())
        eps = context.result.eps[place]
        rows = np.flatnonzero(context.carried[place])
        nearest = context.nearest(rows, context.result.margin, context.sample_size(20))
        config = context.attack.config.model_copy(update={"eps": [eps], "sweep": "nested"})
        taken = context.taken_by(type(context.attack)(config), nearest, eps)
        return CONVERGED.level(taken.accuracy), f"the attack itself {taken.words}"
