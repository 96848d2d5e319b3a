"""Several runs over the same images: each attacks what withstood those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from harness.attacks.base import Objective, Task
from harness.attacks.engine.geometry import random_in_ball
from harness.attacks.engine.victim import Victim, judge
from harness.lazy import torch

TOGETHER = 256
"""Rows of several runs that are attacked at once: small batches cost more a row.

It is not the batch size, so that no result depends on that.
"""


def runners_up(victim: Victim, task: Task, most: int | None = None) -> list[torch.Tensor]:
    """The wrong classes of largest clean logit, at most ``most`` of them: int64 (B,) each."""
    logits = victim.logits(task.images)
    wrong = logits.scatter(1, task.labels[:, None], float("-inf"))
    order = wrong.argsort(dim=1, descending=True, stable=True)
    number = logits.shape[1] - 1
    return list(order[:, : number if most is None else min(most, number)].unbind(1))


def towards(task: Task, loss: str, classes: Iterable[torch.Tensor]) -> Iterator[Task]:
    """A run towards each class; each has a random start of its own."""
    for number, targets in enumerate(classes, 1):
        objective = Objective(loss, number)
        yield replace(task, objective=objective, targets=targets, restart=number, start=None)


def started(runs: Iterable[Task], norm: str) -> Iterator[Task]:
    """The same runs with their random starts drawn, so that they can be made together."""
    for run in runs:
        shape = tuple(run.images.shape[1:])
        start = random_in_ball(run.rng, run.identity, run.restart, shape, norm, run.eps)
        yield replace(run, start=start.to(run.images.device))


def in_turn(
    victim: Victim,
    task: Task,
    runs: Iterable[Task],
    attack: Callable[[Task], torch.Tensor],
    *,
    together: bool,
) -> torch.Tensor:
    """Make several runs, each over what withstood those before it.

    Args:
        victim: the network.
        task: the images of every run.
        runs: what else each run is told.
        attack: gives perturbed images, float32 (B, C, H, W).
        together: whether runs over few images may be made at once. They must agree in objective
            and restart, or the attack must not read these.

    Returns:
        float32 (B, C, H, W): for each image the first point that is misclassified, or the one of
        smallest margin.
    """
    adversarial = task.images.clone()
    lowest = torch.full((len(adversarial),), float("inf"), device=adversarial.device)
    waiting = iter(runs)
    while True:
        rows = (lowest > -float("inf")).nonzero().squeeze(1)
        if not len(rows):
            return adversarial
        most = TOGETHER // len(rows) if together and not victim.stochastic else 1
        group = [_subset(run, rows) for run in islice(waiting, max(1, most))]
        if not group:
            return adversarial
        for points in attack(_joined(group)).split(len(rows)):
            correct, margin = judge(victim.logits(points), task.labels[rows])
            # If the network draws, a mistake may be the noise's: all runs are made.
            broken = ~(correct | victim.stochastic)
            margin = torch.where(broken, -float("inf"), margin)
            better = margin < lowest[rows]
            adversarial[rows[better]] = points[better]
            lowest[rows[better]] = margin[better]


def _subset(task: Task, rows: torch.Tensor) -> Task:
    """A task of some of the rows of another."""
    return replace(
        task,
        images=task.images[rows],
        labels=task.labels[rows],
        targets=None if task.targets is None else task.targets[rows],
        identity=task.identity[rows.cpu().numpy()],
        start=None if task.start is None else task.start[rows],
    )


def _joined(runs: list[Task]) -> Task:
    """One task of the rows of several."""
    if len(runs) == 1:
        return runs[0]
    targets = [run.targets for run in runs if run.targets is not None]
    starts = [run.start for run in runs if run.start is not None]
    return replace(
        runs[0],
        images=torch.cat([run.images for run in runs]),
        labels=torch.cat([run.labels for run in runs]),
        targets=torch.cat(targets) if targets else None,
        identity=np.concatenate([run.identity for run in runs]),
        start=torch.cat(starts) if starts else None,
    )
