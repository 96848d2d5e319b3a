"""Check: attacks without the network's gradient do not beat an attack with it."""

from __future__ import annotations

import numpy as np

from harness import budgets
from harness.attacks.base import Objective
from harness.attacks.engine.class_means import from_class_means
from harness.attacks.engine.victim import judge
from harness.attacks.noise import Noise
from harness.attacks.square import search_squares
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import BLACK_BOX, QUERIES, WEAKER
from harness.lazy import torch
from harness.records import Trust
from harness.registry import checks


@checks.register("black box not stronger")
class BlackBoxNotStronger(Check):
    """Noise, Square (Linf) and transfer from class means break few of the nearest survivors."""

    order = 130

    def applies(self, context: CheckContext) -> bool:
        """If PGD could be run in the same ball."""
        return context.comparable_to_pgd

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the number of survivors that the black-box attacks break together."""
        eps = context.middle_eps
        rows = context.nearest_survivors(context.sample_size(20, 96))
        if not len(rows):
            return "PASS", f"no survivors at eps {budgets.words(eps)}"
        broken = _broken(context, rows)
        together = np.logical_or.reduce(list(broken.values()))
        by_noise = int(next(iter(broken.values())).sum())
        counts = ", ".join(f"{name} broke {by.sum()}" for name, by in broken.items())
        nearest = f"{len(rows)} nearest at eps {budgets.words(eps)}"
        detail = f"of the {nearest} {counts}, together {together.sum()}"
        return _level(context, by_noise, int(together.sum()), len(rows)), detail


def _broken(context: CheckContext, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Attack -> which of ``rows`` it breaks, noise first."""
    eps = context.middle_eps
    norm = context.attack.config.norm
    victim = context.victim
    noise = Noise.of(norm=norm, eps=[eps], draws=5)
    broken = {"5 draws of noise": ~context.survives(noise, rows)}
    task = context.task(rows, eps, Objective("margin"))
    candidates: dict[str, torch.Tensor] = {}
    if context.attack.config.target is None:  # else there is one label, and one mean
        transferred = from_class_means(context.images, context.labels, task, norm)
        candidates["transfer from class means"] = transferred
    if norm == "linf":
        candidates[f"{QUERIES} queries of Square"] = search_squares(victim, task, QUERIES)
    for name, adversarial in candidates.items():
        correct, _ = judge(victim.logits(adversarial), task.labels)
        broken[name] = (~correct).cpu().numpy()
    return broken


def _level(context: CheckContext, by_noise: int, together: int, tried: int) -> Trust:
    """Judge the counts. Noise is weaker than any attack; a search may well beat a single step."""
    if by_noise > 1 and by_noise / len(context.images) > WEAKER:
        return "FAIL"
    level = BLACK_BOX.level((together - 1) / tried)
    single_step = context.attack.stronger() is None
    return "WARN" if level == "FAIL" and single_step else level
