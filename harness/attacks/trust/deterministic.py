"""Check: repeated forward passes agree."""

from __future__ import annotations

import numpy as np

from harness.attacks.engine.victim import ROUNDING, Victim, View, relative_spread
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import FLIPS, Threshold
from harness.lazy import torch
from harness.registry import checks

PASSES = 5
"""Forward passes that are compared."""


@checks.register("deterministic")
class Deterministic(Check):
    """Five passes give the same logits, or averages over passes give the same verdicts."""

    order = 50

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the difference between passes, and the verdicts that it changes."""
        everything = np.ones(len(context.images), bool)
        rows = context.pick(everything, context.sample_size(10, 100), "deterministic")
        images = context.images[context.index(rows)]
        seed = context.rng.child("trust", "passes").seed
        single = Victim(context.model, context.batch_size, View(), seed)
        relative = relative_spread(torch.stack([single.logits(images) for _ in range(PASSES)]))
        detail = (
            f"logits differ by up to {100 * relative:.2g} % over {PASSES} passes "
            f"of {len(rows)} images"
        )
        if relative <= ROUNDING:
            return Threshold(0, ROUNDING).level(relative), detail
        samples = context.attack.view.samples
        if samples == 1:
            return "FAIL", f"{detail}, and each verdict is of one: set samples"
        means = torch.stack([context.victim.logits(images) for _ in range(2)])
        flips = float((means[0].argmax(1) != means[1].argmax(1)).float().mean())
        return (
            "WARN" if flips <= FLIPS else "FAIL",
            f"{detail}, means of {samples} passes by {100 * relative_spread(means):.2g} %, "
            f"which changes {100 * flips:.1f} % of verdicts",
        )
