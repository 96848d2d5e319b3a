"""Check: a step along the gradient gains what the gradient promises."""

from __future__ import annotations

from typing import NamedTuple

from harness import budgets
from harness.attacks.base import Objective, Task
from harness.attacks.engine.geometry import random_in_ball, steepest_direction
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.black_box_not_stronger import BlackBoxNotStronger
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import (
    CORNER_GAIN,
    CORNER_RATIO,
    CURVATURE,
    RESOLUTION,
    SLOPE,
    STEP,
    SURROGATE_SLOPE,
)
from harness.lazy import torch
from harness.records import Trust
from harness.registry import checks


@checks.register("gradient matches the function")
class GradientMatchesFunction(Check):
    """The margin changes over a step along its gradient by about what the gradient promises.

    Measured on survivors: there a mask would show, and there an honest margin has not bent yet.
    """

    order = 120

    def applies(self, context: CheckContext) -> bool:
        """If PGD could be run in the same ball."""
        return context.comparable_to_pgd

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the median share of the promised gain that a test step gains."""
        # Asked first: on a network that draws, the order of passes decides what each one draws.
        searches_win = _searches_win(context)
        eps = context.middle_eps
        robust = context.result.worst[context.middle]
        rows = context.pick(robust, context.sample_size(10, 100), "slope")
        if not len(rows):
            return "PASS", f"no survivors at eps {budgets.words(eps)}"
        task = context.task(rows, eps, Objective("margin"))
        step = _test_step(context, task.images, task)
        usable = int(step.usable.sum())
        if usable < len(rows) / 2:
            return (
                "WARN",
                f"of {len(rows)} samples {usable} have a slope large enough to compare",
            )
        if context.climbs_surrogate:
            return _judge_surrogate(step, eps)
        share = step.median_share()
        level = SLOPE.level(1 - share)
        detail = (
            f"a step of {STEP * eps:.3g} along the gradient gains {share:.2f} "
            f"of what it promises, median of {usable}"
        )
        if level == "FAIL" and context.attack.stronger() is not None:
            away = _share_at_random_points(context, task)
            detail += f", and {away:.2f} at random points of the ball"
            level = _forgive_corner(level, share, away)
        if level == "FAIL" and 1 - share <= CURVATURE and not searches_win:
            level = "WARN"
        return level, detail


class _Step(NamedTuple):
    """A step along the margin's gradient. Tensors (B,).

    Attributes:
        gained: by how much the margin fell.
        promised: by how much the gradient says that it falls.
        usable: whether the two can be compared.
    """

    gained: torch.Tensor
    promised: torch.Tensor
    usable: torch.Tensor

    def median_share(self) -> float:
        """Median of gained / promised."""
        return float((self.gained[self.usable] / self.promised[self.usable]).median())


def _test_step(context: CheckContext, points: torch.Tensor, task: Task) -> _Step:
    """Take a central difference of the margin along its gradient."""
    gradient, _ = context.victim.gradient(points, task.labels, None, LOSSES["margin"])
    step = STEP * task.eps * steepest_direction(gradient, context.attack.config.norm)
    ahead = (points + step).clamp(0, 1)
    behind = (points - step).clamp(0, 1)
    near = context.victim.logits(behind)
    far = context.victim.logits(ahead)
    _, margin_before = judge(near, task.labels)
    _, margin_after = judge(far, task.labels)
    gained = margin_before - margin_after
    promised = (gradient.nan_to_num(0, 0, 0) * (ahead - behind)).flatten(1).sum(1)
    usable = promised > RESOLUTION * near.abs().amax(1)
    if context.climbs_surrogate:
        # On a plateau of a step function nothing is gained, which says nothing about the gradient.
        usable &= gained != 0
    return _Step(gained, promised, usable)


def _judge_surrogate(step: _Step, eps: float) -> Judgement:
    """The length of a surrogate gradient promises nothing, but its direction must help."""
    rising = float((step.gained[step.usable] > 0).float().mean())
    detail = (
        f"a step of {STEP * eps:.3g} along the surrogate gradient "
        f"lowers the margin of {100 * rising:.0f} % of {int(step.usable.sum())}"
    )
    return SURROGATE_SLOPE.level(1 - rising), detail


def _share_at_random_points(context: CheckContext, task: Task) -> float:
    """Median share gained at a random point of each ball instead of at the image; 0 if unknown."""
    shape = tuple(task.images.shape[1:])
    norm = context.attack.config.norm
    noise = random_in_ball(task.rng, task.identity, 0, shape, norm, task.eps)
    points = (task.images + noise.to(task.images.device)).clamp(0, 1)
    step = _test_step(context, points, task)
    return step.median_share() if step.usable.any() else 0.0


def _forgive_corner(level: Trust, share: float, away: float) -> Trust:
    """WARN if the image is a corner of an honest function, which an attack leaves at once."""
    return "WARN" if away >= max(CORNER_GAIN, CORNER_RATIO * share) else level


def _searches_win(context: CheckContext) -> bool:
    """Whether searches without a gradient break more than an attack with one should leave."""
    return any(result.level == "FAIL" for result in context.results_of(BlackBoxNotStronger))
