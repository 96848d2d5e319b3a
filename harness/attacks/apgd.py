"""Auto-PGD (Croce & Hein 2020, algorithm 1): steps that halve themselves where they no longer help, and momentum."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import Field

from harness.attacks.base import Attack, Attempt, GradientConfig, Objective, Trial, grid_words
from harness.attacks.engine.ascent import WorkingSet, choose, keep_best
from harness.attacks.engine.geometry import climb, column, project
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import Victim
from harness.lazy import torch
from harness.registry import attacks

FRESH = 0.75
"""alpha: share of a new step; the rest is the step before."""

RISES = 0.75
"""rho: where a smaller share of the steps since the last checkpoint raised the loss, steps are halved."""


@attacks.register("apgd")
class APGD(Attack):
    """Auto-PGD: no step size to choose, best iterate, random starts."""

    class Config(GradientConfig):
        """Keys of APGD."""

        steps: int = Field(50, ge=2, le=10_000, description="gradient steps a restart")
        restarts: int = Field(1, ge=1, le=1000, description="random starts a loss")
        targets: int = Field(
            0, ge=0, le=1000, description="also aim at each of so many runner-up classes"
        )

    @property
    def name(self) -> str:
        return f"apgd-{self.config.steps}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return tuple(
            Objective(loss, target)
            for target in range(self.config.targets + 1)
            for loss in self.config.loss
        )

    @property
    def restarts(self) -> int:
        return self.config.restarts

    def words(self) -> str:
        c = self.config
        targets = f", and targeted at {c.targets} runner-up classes" if c.targets else ""
        return (
            f"{grid_words(c)}, loss {' + '.join(c.loss)}{targets}, {c.steps} steps that start at 2 eps and halve themselves, "
            f"{c.restarts} random start{'s' * (c.restarts > 1)}, best iterate"
        )

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        """From a random point at every eps: to start where a smaller eps ended leaves more standing, as steps begin at 2 eps."""
        loss, work = (
            LOSSES[trial.objective.loss],
            WorkingSet(trial, self.config.norm, random_start=True),
        )
        found, last = trial.images.clone(), trial.images.clone()
        lowest = torch.full((len(found),), float("inf"), device=found.device)
        schedule = _Schedule(trial, self.config.norm, self.config.steps)
        while True:
            work.fill(victim.batch_size)
            if not len(work.index):
                break
            gradient, logits = work.gradient(victim, loss)
            correct = keep_best(victim, logits, work, found, last, lowest)
            targets = None if trial.targets is None else trial.targets[work.index]
            value = loss(logits, work.labels, targets)[correct]
            gradient = gradient[correct]
            work.keep(correct)
            if len(work.index):
                schedule.step(work, gradient, value)
            work.steps = work.steps + 1
            done = work.steps >= self.config.steps
            last[work.index[done]] = work.points[done]
            work.keep(~done)
        return Attempt(choose(victim, trial, found, last, lowest))

    def stronger(self) -> APGD:
        return APGD(self.config.model_copy(update={"steps": 2 * self.config.steps}))

    def faults(
        self, image_shape: tuple[int, int, int], n_classes: int
    ) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        yield from super().faults(image_shape, n_classes)
        if self.config.targets >= n_classes:
            yield (
                ("targets",),
                f"{self.config.targets} runner-up classes of {n_classes} classes",
                f"at most {n_classes - 1}",
            )


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size is thought over (Croce & Hein 2020, section 3.1).

    >>> checkpoints(100)[:4]
    [22, 41, 57, 70]
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [step for share in shares[1:] if (step := math.ceil(round(share * steps, 9))) < steps]


class _Schedule:
    """What APGD remembers of every sample: tensors (N, ...) over a trial, of which a step reads the rows under way."""

    def __init__(self, trial: Trial, norm: str, steps: int):
        images, n = trial.images, len(trial.images)
        self.trial, self.norm = trial, norm
        self.before, self.top, self.slope = images.clone(), images.clone(), torch.zeros_like(images)
        unknown = torch.full((n,), -float("inf"), device=images.device)
        self.highest, self.previous, self.at_check = (
            unknown.clone(),
            unknown.clone(),
            unknown.clone(),
        )
        self.size = torch.full((n,), 2.0 * trial.eps, device=images.device)
        self.halved = torch.ones(n, dtype=torch.bool, device=images.device)
        self.rises = torch.zeros(n, device=images.device)
        self.since = torch.zeros(
            steps, device=images.device
        )  # steps between a checkpoint and the one before; 0 elsewhere
        for step, former in zip(checkpoints(steps), [0, *checkpoints(steps)], strict=False):
            self.since[step] = step - former

    def step(self, work: WorkingSet, gradient: torch.Tensor, value: torch.Tensor) -> None:
        """Move the points, each by its own step size; ``gradient`` and ``value`` are of the loss at them."""
        rows = work.index
        better = value > self.highest[rows]
        self.top[rows[better]], self.slope[rows[better]] = work.points[better], gradient[better]
        self.highest[rows[better]] = value[better]
        self.rises[rows] += (value > self.previous[rows]).float() * (work.steps > 0)
        self.previous[rows] = value
        back = self._think_over(rows, work.steps)
        points = torch.where(column(back, gradient), self.top[rows], work.points)
        gradient = torch.where(column(back, gradient), self.slope[rows], gradient)
        eps = self.trial.eps
        ahead = project(
            climb(points, gradient, self.norm, self.size[rows]), work.centres, self.norm, eps
        )
        swung = points + FRESH * (ahead - points) + (1 - FRESH) * (points - self.before[rows])
        first = column(work.steps == 0, gradient)
        self.before[rows] = points
        work.points = torch.where(first, ahead, project(swung, work.centres, self.norm, eps))

    def _think_over(self, rows: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Halve the step sizes of samples that are at a checkpoint and got little from them: which go back to their best."""
        since = self.since[steps]
        at = since > 0
        few = self.rises[rows] < RISES * since
        stuck = ~self.halved[rows] & (self.highest[rows] <= self.at_check[rows])
        back = at & (few | stuck)
        self.size[rows] = torch.where(back, self.size[rows] / 2, self.size[rows])
        self.halved[rows] = torch.where(at, back, self.halved[rows])
        self.at_check[rows] = torch.where(at, self.highest[rows], self.at_check[rows])
        self.rises[rows] = torch.where(at, torch.zeros_like(since), self.rises[rows])
        return back
