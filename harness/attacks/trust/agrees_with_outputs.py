"""Check: the gradient predicts what changes along random directions do to the outputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness import budgets
from harness.attacks.base import Objective, Task
from harness.attacks.engine.geometry import random_in_ball
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import judge
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import A_CLASS, AGREEMENT, PROBE, RESOLUTION
from harness.lazy import torch
from harness.registry import checks

IMAGES = 64
DIRECTIONS = 16
FIRST_DIRECTIONS = 6
"""If these agree far better than they must, the others are left out."""


@checks.register("gradient agrees with outputs")
class AgreesWithOutputs(Check):
    """Differences of outputs along random directions are those that the gradient predicts.

    A gradient that leads somewhere, but not where the network is weak, keeps what it promises along
    itself. Along random directions it does not. Judged for each class: a mask may cover some only.
    """

    order = 125

    def applies(self, context: CheckContext) -> bool:
        """If the attack climbs the gradient of the network itself, which draws nothing."""
        exact = not context.climbs_surrogate and not context.victim.stochastic
        return context.comparable_to_pgd and exact

    def judge(self, context: CheckContext) -> Judgement:
        """Judge one minus the median correlation, over all images and over those of each class."""
        eps = context.middle_eps
        rows = context.spread_survivors(IMAGES, context.middle)
        if not len(rows):
            return "PASS", f"no survivors at eps {budgets.words(eps)}"
        task = context.task(rows, eps, Objective("margin"))
        few = _judged(context, task, rows, FIRST_DIRECTIONS)
        if few.missing <= AGREEMENT.warn / 2:
            return "PASS", few.words
        every = _judged(context, task, rows, DIRECTIONS)
        return AGREEMENT.level(every.missing), every.words


class _Judged(NamedTuple):
    """What is missing to perfect agreement, in all or in the lowest class, and in words."""

    missing: float
    words: str


def _judged(context: CheckContext, task: Task, rows: np.ndarray, number: int) -> _Judged:
    """Agreement along a number of directions."""
    agreement, usable = _agreement(context, task, number)
    if usable.sum() < len(rows) / 2:
        # Too few to fail on, and to pass.
        words = f"of {len(rows)} samples {usable.sum()} have a slope large enough"
        return _Judged(AGREEMENT.fail, words)
    labels = context.labels.cpu().numpy()[rows][usable]
    classes = [agreement[usable][labels == label] for label in np.unique(labels)]
    lowest = min((np.median(each) for each in classes if len(each) >= A_CLASS), default=1.0)
    median = float(np.median(agreement[usable]))
    words = (
        f"correlation {median:.2f} along {number} random directions, median of "
        f"{usable.sum()} survivors; {lowest:.2f} in the lowest class"
    )
    return _Judged(1 - min(median, float(lowest)), words)


def _agreement(context: CheckContext, task: Task, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of differences with predictions (B,), and where there is any slope, bool (B,).

    Taken at random points of the ball, where attacks climb: an image itself may be a corner.
    """
    shape = tuple(task.images.shape[1:])
    norm = context.attack.config.norm
    noise = random_in_ball(task.rng, task.identity, 0, shape, norm, task.eps)
    points = (task.images + noise.to(task.images.device)).clamp(0, 1)
    slope, logits = context.victim.gradient(points, task.labels, None, LOSSES["margin"])
    generator = context.rng.numpy("trust", "directions")
    differences = []
    predictions = []
    for _ in range(number):
        signs = generator.integers(0, 2, points.shape) * 2 - 1
        step = PROBE * torch.from_numpy(signs).to(points)
        ahead = (points + step).clamp(0, 1)
        behind = (points - step).clamp(0, 1)
        _, margin_ahead = judge(context.victim.logits(ahead), task.labels)
        _, margin_behind = judge(context.victim.logits(behind), task.labels)
        differences.append(margin_behind - margin_ahead)
        predictions.append((slope * (ahead - behind)).flatten(1).sum(1))
    found = torch.stack(differences).double()
    predicted = torch.stack(predictions).double()
    sizes = found.norm(dim=0) * predicted.norm(dim=0)
    correlation = (found * predicted).sum(0) / sizes.clamp_min(1e-30)
    floor = RESOLUTION * logits.abs().amax(1)
    usable = found.abs().mean(0) > floor
    return correlation.nan_to_num(0).cpu().numpy(), usable.cpu().numpy()
