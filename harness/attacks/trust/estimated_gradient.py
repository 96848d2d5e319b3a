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

FIRST_STEPS = 3
"""After these only samples go on that the estimate has taken a third of the exact way."""

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
        lowest = _estimated(context, task, norm, reached)
        further = lowest < reached - PROBE * reached.abs()
        broken = int((lowest < 0).sum())
        detail = (
            f"{STEPS} steps of {2 * PAIRS} outputs each get further than {STEPS} exact ones on "
            f"{int(further.sum())} of the {len(rows)} nearest at eps {budgets.words(eps)}, "
            f"and break {broken}"
        )
        allowed = (int(further.sum()) - 1) / len(rows)  # one alone is an accident
        return CLIMBS_BETTER.level(allowed), detail


def _estimated(context: CheckContext, task: Task, norm: str, reached: torch.Tensor) -> torch.Tensor:
    """Smallest margin of each image on the way along estimated gradients, (B,).

    Those that are far behind the exact way, whose margins at its end are ``reached``, stop early.
    """
    images, labels = task.images, task.labels
    generator = context.rng.numpy("trust", "estimate")
    _, lowest = judge(context.victim.logits(images), labels)
    hopeful = lowest - (lowest - reached) * FIRST_STEPS / STEPS
    points = images.clone()
    left = torch.arange(len(images), device=images.device)
    for step in range(STEPS):
        if step == FIRST_STEPS:
            left = (lowest <= hopeful).nonzero().squeeze(1)
        signs = generator.integers(0, 2, (PAIRS, *images.shape)) * 2 - 1
        if not len(left):
            break
        directions = torch.from_numpy(signs).to(points)[:, left]
        slope = _slope(context, points[left], labels[left], directions)
        ahead = steepest_step(points[left], slope, norm, task.eps / 4)
        points[left] = project(ahead, images[left], norm, task.eps)
        _, margin = judge(context.victim.logits(points[left]), labels[left])
        lowest[left] = torch.minimum(lowest[left], margin)
    return lowest


def _slope(
    context: CheckContext, points: torch.Tensor, labels: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Estimate where margins fall, (B, C, H, W), from outputs along directions (P, B, C, H, W)."""
    ahead = (points + PROBE * directions).clamp(0, 1).flatten(0, 1)
    behind = (points - PROBE * directions).clamp(0, 1).flatten(0, 1)
    everywhere = labels.repeat(len(directions))
    _, margin_ahead = judge(context.victim.logits(ahead), everywhere)
    _, margin_behind = judge(context.victim.logits(behind), everywhere)
    falls = (margin_behind - margin_ahead).view(len(directions), -1, 1, 1, 1)
    return (falls * directions).sum(0)
