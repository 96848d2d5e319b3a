"""Check: nothing that a network hides from autograd leads to more adversarial images."""

from __future__ import annotations

import numpy as np

from harness.attacks.base import Objective
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.random_state import isolated_random_state
from harness.attacks.engine.victim import input_gradient, judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.survivors import Broken
from harness.batching import padded
from harness.lazy import nn, torch
from harness.registry import checks

STEPS = 20


@checks.register("real graph not stronger")
class RealGraphNotStronger(Check):
    """PGD on the real graph, straight through what has no gradient, breaks few survivors.

    Values that a network detaches, or computes under ``no_grad``, depend on the image all the same.
    """

    order = 85

    def applies(self, context: CheckContext) -> bool:
        """If the attack climbs a gradient that does not see the real graph already."""
        return context.comparable_to_pgd

    def judge(self, context: CheckContext) -> Judgement:
        """Judge how many survivors it breaks, at two budgets."""
        from harness.attacks.engine.real_graph import RealGraphVictim

        # On a copy: what a network keeps of its images would keep the graph too.
        model = context.fresh()
        try:
            cut = _cut(context, model)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            return "WARN", f"the real graph cannot be followed: {str(error).splitlines()[0]}"
        if not cut:
            return "PASS", "nothing is cut"
        victim = context.victim
        real = RealGraphVictim(model, victim.batch_size, victim.view, victim.seed)

        def breaks(rows: np.ndarray, place: int) -> np.ndarray:
            task = context.task(rows, context.result.eps[place], Objective("margin"))
            moved = projected_ascent(
                real,
                task,
                norm=context.attack.config.norm,
                steps=STEPS,
                step_size=2.5 / STEPS * task.eps,
                random_start=True,
                best=True,
            ).adversarial
            return ~judge(victim.logits(moved), task.labels)[0].cpu().numpy()

        broken = Broken.by(context, breaks)
        return broken.level, f"{', '.join(cut)} undone: {broken.words}"


def _cut(context: CheckContext, model: nn.Module) -> list[str]:
    """What cuts the graph of some images' margins: detaching, and functions without a gradient."""
    from harness.attacks.engine.real_graph import RealGraph

    rows = context.index(context.spread_survivors(16, context.middle))
    if not len(rows):
        return []
    inputs = padded(context.images[rows]).clone().requires_grad_()
    with torch.enable_grad(), isolated_random_state(0):
        with RealGraph() as mode:
            logits = model(inputs)
        if logits.requires_grad:
            total = LOSSES["margin"](logits, padded(context.labels[rows]), None).sum()
            input_gradient(total, inputs)
    missed = [] if context.attack.view.backward == "straight-through" else list(mode.seen)
    return [*mode.undone, *missed]
