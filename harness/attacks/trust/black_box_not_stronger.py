"""Check: attacks without the network's gradient do not beat an attack with it."""

from __future__ import annotations

import numpy as np

from harness import budgets
from harness.attacks.base import Objective
from harness.attacks.engine.victim import judge
from harness.attacks.noise import Noise
from harness.attacks.square import search_squares
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import (
    BLACK_BOX,
    FIRST_QUERIES,
    NEAREST,
    PROMISING,
    QUERIES,
    SPREAD,
    WEAKER,
)
from harness.attacks.trust.transfers import CLASS_MEANS
from harness.records import Trust
from harness.registry import checks


@checks.register("black box not stronger")
class BlackBoxNotStronger(Check):
    """Noise, Square (Linf) and transfer from class means break few of the survivors.

    Tried on the nearest, and on as many drawn at random: a mask may leave large margins.
    """

    order = 130

    def applies(self, context: CheckContext) -> bool:
        """If PGD could be run in the same ball."""
        return context.comparable_to_pgd

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the number of survivors that the black-box attacks break together."""
        eps = context.middle_eps
        most = context.sample_size(20, NEAREST)
        nearest = context.nearest_survivors(most)
        if not len(nearest):
            return "PASS", f"no survivors at eps {budgets.words(eps)}"
        drawn = context.spread_survivors(most, context.middle)
        rows = np.union1d(nearest, drawn)
        broken = _broken(context, rows)
        together = np.logical_or.reduce(list(broken.values()))
        of_nearest = int(together[np.isin(rows, nearest)].sum())
        of_drawn = int(together[np.isin(rows, drawn)].sum())
        by_noise = int(next(iter(broken.values())).sum())
        counts = ", ".join(f"{name} broke {by.sum()}" for name, by in broken.items())
        detail = (
            f"of {len(rows)} survivors at eps {budgets.words(eps)} {counts}; together "
            f"{of_nearest} of the {len(nearest)} nearest and {of_drawn} of {len(drawn)} drawn"
        )
        # One sample alone is an accident.
        levels = [
            BLACK_BOX.level((of_nearest - 1) / len(nearest)),
            SPREAD.level((of_drawn - 1) / len(drawn)),
        ]
        return _level(context, by_noise, max(levels, key=("PASS", "WARN", "FAIL").index)), detail


def _broken(context: CheckContext, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Attack -> which of ``rows`` it breaks, noise first."""
    eps = context.middle_eps
    norm = context.attack.config.norm
    victim = context.victim
    noise = Noise.of(norm=norm, eps=[eps], draws=5)
    broken = {"5 draws of noise": ~context.survives(noise, rows)}
    transferred = context.transfers.at(rows, eps).get(CLASS_MEANS)
    if transferred is not None:
        correct, _ = judge(victim.logits(transferred), context.labels[context.index(rows)])
        broken["transfer from class means"] = (~correct).cpu().numpy()
    if norm == "linf":
        broken[f"{QUERIES} queries of Square"] = _by_square(context, rows)
    return broken


def _by_square(context: CheckContext, rows: np.ndarray) -> np.ndarray:
    """Which of ``rows`` Square breaks. Where its first queries lead nowhere it gives up."""
    victim = context.victim
    everything = context.task(rows, context.middle_eps, Objective("margin"))
    first = search_squares(victim, everything, FIRST_QUERIES, QUERIES)
    _, clean = judge(victim.logits(everything.images), everything.labels)
    correct, margin = judge(victim.logits(first), everything.labels)
    broken: np.ndarray = (~correct).cpu().numpy()
    goes_on = (correct & (margin <= PROMISING * clean)).cpu().numpy()
    # One sample alone is an accident, whether the search would break it or not.
    if goes_on.any() and goes_on.sum() + broken.sum() > 1:
        task = context.task(rows[goes_on], context.middle_eps, Objective("margin"))
        found = search_squares(victim, task, QUERIES)
        broken[goes_on] = (~judge(victim.logits(found), task.labels)[0]).cpu().numpy()
    return broken


def _level(context: CheckContext, by_noise: int, level: Trust) -> Trust:
    """Noise is weaker than any attack; a search may well beat a single step."""
    if by_noise > 1 and by_noise / len(context.images) > WEAKER:
        return "FAIL"
    single_step = context.attack.stronger() is None
    return "WARN" if level == "FAIL" and single_step else level
