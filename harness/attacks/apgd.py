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
        steps = self.config.steps
        work = WorkingSet(task, self.config.norm, random_start=True)
        schedule = _Schedule(task, self.config.norm, steps)
        candidates = ascend(victim, task, work, schedule.move, steps=steps, best=True)
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
    """What APGD remembers of every sample of a task, in tensors (N, ...).

    Attributes:
        size: step size.
        previous_points: the iterates one step ago.
        best_points: the iterates of highest loss.
        best_gradients: the gradients there.
        highest: the highest loss.
        previous: the loss one step ago.
        highest_at_check: ``highest`` at the last checkpoint.
        halved: whether the step size was halved at the last checkpoint.
        rises: number of steps since the last checkpoint that raised the loss.
        period: for each step, the number of steps since the last checkpoint if the step is a
            checkpoint; otherwise 0.
    """

    def __init__(self, task: Task, norm: str, steps: int) -> None:
        images = task.images
        device = images.device
        n = len(images)
        self.task = task
        self.norm = norm
        self.size = torch.full((n,), 2.0 * task.eps, device=device)
        self.previous_points = images.clone()
        self.best_points = images.clone()
        self.best_gradients = torch.zeros_like(images)
        self.highest = torch.full((n,), -float("inf"), device=device)
        self.previous = self.highest.clone()
        self.highest_at_check = self.highest.clone()
        self.halved = torch.ones(n, dtype=torch.bool, device=device)
        self.rises = torch.zeros(n, device=device)
        self.period = torch.zeros(steps, device=device)
        former = 0
        for step in checkpoints(steps):
            self.period[step] = step - former
            former = step

    def move(self, work: WorkingSet, gradient: torch.Tensor, logits: torch.Tensor) -> None:
        """Move the points, each by its own step size."""
        rows = work.index
        eps = self.task.eps
        value = LOSSES[self.task.objective.loss](logits, work.labels, work.targets)
        self._remember(work, gradient, value)
        back = self._reconsider(rows, work.steps)
        points = torch.where(column(back, gradient), self.best_points[rows], work.points)
        gradient = torch.where(column(back, gradient), self.best_gradients[rows], gradient)
        step = steepest_step(points, gradient, self.norm, self.size[rows])
        ahead = project(step, work.centres, self.norm, eps)
        inertia = points - self.previous_points[rows]
        swung = points + ALPHA * (ahead - points) + (1 - ALPHA) * inertia
        first = column(work.steps == 0, gradient)
        self.previous_points[rows] = points
        work.points = torch.where(first, ahead, project(swung, work.centres, self.norm, eps))

    def _remember(self, work: WorkingSet, gradient: torch.Tensor, value: torch.Tensor) -> None:
        """Record the loss at the points, and the best points so far."""
        rows = work.index
        better = value > self.highest[rows]
        self.best_points[rows[better]] = work.points[better]
        self.best_gradients[rows[better]] = gradient[better]
        self.highest[rows[better]] = value[better]
        self.rises[rows] += (value > self.previous[rows]).float() * (work.steps > 0)
        self.previous[rows] = value

    def _reconsider(self, rows: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Halve the step size of samples that gained little since the last checkpoint.

        Returns:
            bool (B,): which samples go back to their best point.
        """
        period = self.period[steps]
        at_checkpoint = period > 0
        few_rises = self.rises[rows] < RHO * period
        unchanged = self.highest[rows] <= self.highest_at_check[rows]
        stuck = ~self.halved[rows] & unchanged
        back = at_checkpoint & (few_rises | stuck)
        none = torch.zeros_like(period)
        self.size[rows] = torch.where(back, self.size[rows] / 2, self.size[rows])
        self.halved[rows] = torch.where(at_checkpoint, back, self.halved[rows])
        self.highest_at_check[rows] = torch.where(
            at_checkpoint, self.highest[rows], self.highest_at_check[rows]
        )
        self.rises[rows] = torch.where(at_checkpoint, none, self.rises[rows])
        return back
