"""Check: a gradient estimated from outputs alone gets no further than the exact one."""

from __future__ import annotations

from harness import budgets
from harness.attacks.base import Objective, Task
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.geometry import project, steepest_step
from harness.attacks.engine.victim import judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import CLIMBS_BETTER, PROBE
from harness.lazy import torch
from harness.registry import checks

IMAGES = 16
STEPS = 10

PAIRS = 10
"""Antithetic pairs of outputs for each estimate (SPSA, Spall 1992; NES, Ilyas et al. 2018)."""


@checks.register("estimated gradient not better")
class EstimatedGradient(Check):
    """PGD on estimated gradients ends at larger margins than PGD on those of the network.

    An estimate of hundreds of numbers from 20 outputs is a poor one. Where it is better, the
    gradient of the network is worse than that.
    """

    order = 127

    def applies(self, context: CheckContext) -> bool:
        """If PGD could be run in the same ball; means over passes need too many."""
        return context.comparable_to_pgd and not context.victim.stochastic

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the share of the nearest survivors on which the estimate gets further."""
        eps = context.middle_eps
        rows = context.nearest_survivors(IMAGES)
        if not len(rows):
            return "PASS", f"no survivors at eps {budgets.words(eps)}"
        task = context.task(rows, eps, Objective("margin"))
        norm = context.attack.config.norm
        exact = projected_ascent(
            context.victim,
            task,
            norm=norm,
            steps=STEPS,
            step_size=task.eps / 4,
            random_start=False,
            best=True,
        ).adversarial
        _, reached = judge(context.victim.logits(exact), task.labels)
        lowest = _estimated(context, task, norm)
        further = lowest < reached - PROBE * reached.abs()
        broken = int((lowest < 0).sum())
        detail = (
            f"{STEPS} steps of {2 * PAIRS} outputs each get further than {STEPS} exact ones on "
            f"{int(further.sum())} of the {len(rows)} nearest at eps {budgets.words(eps)}, "
            f"and break {broken}"
        )
        allowed = (int(further.sum()) - 1) / len(rows)  # one alone is an accident
        return CLIMBS_BETTER.level(allowed), detail


def _estimated(context: CheckContext, task: Task, norm: str) -> torch.Tensor:
    """Smallest margin of each image on the way along estimated gradients, (B,)."""
    points = task.images
    generator = context.rng.numpy("trust", "estimate")
    _, lowest = judge(context.victim.logits(points), task.labels)
    for _ in range(STEPS):
        signs = generator.integers(0, 2, (PAIRS, *points.shape)) * 2 - 1
        directions = torch.from_numpy(signs).to(points)
        slope = torch.zeros_like(points)
        for direction in directions:
            ahead = (points + PROBE * direction).clamp(0, 1)
            behind = (points - PROBE * direction).clamp(0, 1)
            _, margin_ahead = judge(context.victim.logits(ahead), task.labels)
            _, margin_behind = judge(context.victim.logits(behind), task.labels)
            slope += (margin_behind - margin_ahead).view(-1, 1, 1, 1) * direction
        ahead = steepest_step(points, slope, norm, task.eps / 4)
        points = project(ahead, task.images, norm, task.eps)
        _, margin = judge(context.victim.logits(points), task.labels)
        lowest = torch.minimum(lowest, margin)
    return lowest
