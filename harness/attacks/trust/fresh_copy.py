"""Check: a copy of the network that was never asked anything gives the same verdicts."""

from __future__ import annotations

from harness.attacks.base import Objective
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.victim import judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import FLIPS, FORGETS, TIE
from harness.lazy import torch
from harness.registry import checks

STEPS = 5
"""Steps of PGD, which make the images and show them to the network on the way."""

IMAGES = 32
"""At each of two budgets."""


@checks.register("same on a fresh copy")
class FreshCopy(Check):
    """Adversarial images get the same verdicts from a fresh copy, asked in the opposite order.

    A network that changes while it is measured, by a memory of clean images or by a count of
    questions, may resist an attack that its fresh copy does not.
    """

    order = 12

    def applies(self, context: CheckContext) -> bool:
        """If there is an eps above 0, in a norm in which PGD can be run."""
        return context.middle >= 0 and context.pgd_has_norm

    def judge(self, context: CheckContext) -> Judgement:
        """Judge how many verdicts differ, and by how much the logits do."""
        if context.fresh() is context.model:
            return "-", "the network cannot be copied"
        differ = tried = 0
        spread = 0.0
        for place in context.two_places:
            of_place, rows, relative = _differing(context, place)
            differ += of_place
            tried += rows
            spread = max(spread, relative)
        detail = (
            f"{differ} of {tried} adversarial images get another verdict from a fresh copy; "
            f"logits differ by up to {100 * spread:.2g} %"
        )
        allowed = FLIPS * tried if context.victim.stochastic else 0
        changed = differ > allowed or (spread > FORGETS and not context.victim.stochastic)
        if context.plastic and changed:
            return "WARN", f"declared plastic; {detail}"
        if differ > allowed:
            return "FAIL", f"{detail}: the network changes while it is measured"
        return ("WARN" if changed else "PASS"), detail


def _differing(context: CheckContext, place: int) -> tuple[int, int, float]:
    """Verdicts that differ at one eps, images tried, and the relative difference of logits."""
    rows = context.spread_survivors(IMAGES, place)
    if not len(rows):
        return 0, 0, 0.0
    task = context.task(rows, context.result.eps[place], Objective("margin"))
    # The network has met the clean images, as in a sweep, and then each step of the attack.
    context.victim.logits(task.images)
    moved = projected_ascent(
        context.victim,
        task,
        norm=context.attack.config.norm,
        steps=STEPS,
        step_size=task.eps / 2,
        random_start=True,
        best=False,
    ).adversarial
    used = context.victim.logits(moved)
    fresh = context.fresh_victim().logits(moved.flip(0)).flip(0)
    scale = used.abs().amax(1).clamp_min(1)
    verdicts = [judge(logits, task.labels) for logits in (used, fresh)]
    tie = torch.minimum(*(margin.abs() for _, margin in verdicts)) <= TIE * scale
    differ = (verdicts[0][0] != verdicts[1][0]) & ~tie
    relative = ((used - fresh).abs().amax(1) / scale).max()
    return int(differ.sum()), len(rows), float(relative)
