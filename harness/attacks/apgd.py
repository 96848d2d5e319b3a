"""Auto-PGD (Croce & Hein 2020, algorithm 1): momentum, and steps that are halved when needed."""

from __future__ import annotations

import math

from pydantic import Field

from harness.attacks.base import Candidates, Task
from harness.attacks.config import IteratedConfig, grid_words
from harness.attacks.engine.ascent import WorkingSet, ascend
from harness.attacks.engine.geometry import column, project, steepest_step
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import Victim
from harness.attacks.iterated import Iterated
from harness.lazy import torch
from harness.registry import attacks

ALPHA = 0.75
"""Share of the new step; the rest is the previous step."""

RHO = 0.75
"""Steps are halved if a smaller share of those since the last checkpoint raised the loss."""


@attacks.register("apgd")
class APGD(Iterated):
    """Auto-PGD: no step size to choose, best iterate, random starts."""

    class Config(IteratedConfig):
        """Keys of APGD."""

        steps: int = Field(50, ge=2, le=10_000, description="gradient steps of each restart")

    config: Config

    @property
    def name(self) -> str:
        """With the number of steps."""
        return f"apgd-{self.config.steps}"

    def words(self) -> str:
        """Describe its settings."""
        config = self.config
        plural = "s" if config.restarts > 1 else ""
        return (
            f"{grid_words(config)}, {self.loss_words}, "
            f"{config.steps} steps that start at 2 eps and halve themselves, "
            f"{config.restarts} random start{plural}, best iterate"
        )

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Climb the objective's loss, from a random point at every eps.

        Starting where a smaller eps ended leaves more samples robust, because steps begin at 2 eps.
        """
        config = self.config
        schedule = _Schedule(task, config.norm, config.steps)
        candidates = ascend(
            victim,
            task,
            schedule.move,
            norm=config.norm,
            random_start=True,
            steps=config.steps,
            best=True,
        )
        return Candidates(candidates.adversarial)


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size is reconsidered (Croce & Hein 2020, section 3.1).

    >>> checkpoints(100)[:4]
    [22, 41, 57, 70]
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        period = max(shares[-1] - shares[-2] - 0.03, 0.06)
        shares.append(shares[-1] + period)
    # Rounded first: 0.57 * 100 is 56.99999999999999.
    at = [math.ceil(round(share * steps, 9)) for share in shares[1:]]
    return [step for step in at if step < steps]


class _Schedule:
    """The steps of APGD; what it remembers of every sample is kept in the working set.

    That is, a value for each slot:

    * ``size``: step size.
    * ``previous points``: the iterates one step ago.
    * ``best points`` and ``best gradients``: the iterates of highest loss, and the gradients there.
    * ``highest``: the highest loss.
    * ``previous``: the loss one step ago.
    * ``highest at check``: ``highest`` at the last checkpoint.
    * ``halved``: whether the step size was halved at the last checkpoint.
    * ``rises``: number of steps since the last checkpoint that raised the loss.

    Attributes:
        period: for each step, the number of steps since the last checkpoint if the step is a
            checkpoint; otherwise 0.
    """

    def __init__(self, task: Task, norm: str, steps: int) -> None:
        self.task = task
        self.norm = norm
        # One more, for slots whose sample has taken all its steps.
        self.period = torch.zeros(steps + 1, device=task.images.device)
        former = 0
        for step in checkpoints(steps):
            self.period[step] = step - former
            former = step

    def move(self, work: WorkingSet, gradient: torch.Tensor, logits: torch.Tensor) -> None:
        """Move the points, each by its own step size."""
        eps = self.task.eps
        first = work.steps == 0
        value = LOSSES[self.task.objective.loss](logits, work.labels, work.targets)
        self._remember(work, gradient, value, first)
        points, gradient = self._reconsider(work, gradient)
        size = work.recall("size", value)
        step = steepest_step(points, gradient, self.norm, size)
        ahead = project(step, work.centres, self.norm, eps)
        before = work.recall("previous points", points)
        # swung = points + ALPHA (ahead - points) + (1 - ALPHA) (points - before)
        swung = (ahead - points).mul_(ALPHA).add_(points)
        swung += before.neg_().add_(points).mul_(1 - ALPHA)
        before.copy_(points)
        swung = project(swung, work.centres, self.norm, eps)
        work.points = torch.where(column(first, ahead), ahead, swung) if first.any() else swung

    def _remember(
        self,
        work: WorkingSet,
        gradient: torch.Tensor,
        value: torch.Tensor,
        first: torch.Tensor,
    ) -> None:
        """Record the loss at the points, and the best points so far."""
        highest = work.recall("highest", value)
        previous = work.recall("previous", value)
        if first.any():
            lowest = -float("inf")
            for name in ("highest", "previous", "highest at check"):
                work.recall(name, value).masked_fill_(first, lowest)
            work.recall("size", value).masked_fill_(first, 2.0 * self.task.eps)
            work.recall("halved", first).masked_fill_(first, True)
        better = value > highest
        points = work.recall("best points", gradient)
        gradients = work.recall("best gradients", gradient)
        where = column(better | first, points)
        torch.where(where, work.points, points, out=points)
        torch.where(where, gradient, gradients, out=gradients)
        torch.where(better, value, highest, out=highest)
        work.recall("rises", value).add_((value > previous) & ~first)
        previous.copy_(value)

    def _reconsider(
        self, work: WorkingSet, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Halve the step size of samples that gained little since the last checkpoint.

        Returns:
            Where each sample goes on from: float32 (S, C, H, W), its point or its best one, and
            the gradient there.
        """
        period = self.period[work.steps]
        at_checkpoint = period > 0
        if not bool(at_checkpoint.any()):
            return work.points, gradient
        rises = work.memory["rises"]
        highest = work.memory["highest"]
        at_check = work.memory["highest at check"]
        halved = work.memory["halved"]
        stuck = ~halved & (highest <= at_check)
        back = at_checkpoint & ((rises < RHO * period) | stuck)
        size = work.memory["size"]
        torch.where(back, size / 2, size, out=size)
        torch.where(at_checkpoint, back, halved, out=halved)
        torch.where(at_checkpoint, highest, at_check, out=at_check)
        rises.masked_fill_(at_checkpoint, 0)
        where = column(back, gradient)
        points = torch.where(where, work.memory["best points"], work.points)
        return points, torch.where(where, work.memory["best gradients"], gradient)
