"""Auto-PGD in L1 (Croce & Hein 2021, "Mind the box", arXiv 2103.01208): sparse, adaptive steps.

A step moves the pixels of largest gradient by equal amounts. How many follows the sparsity of the
best point so far. The search begins in a ball of three times the budget, where the loss is easier
to climb, and is projected into the smaller balls on its way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.attacks.base import Task
from harness.attacks.engine.ascent import WorkingSet, ascend
from harness.attacks.engine.geometry import column, finite, project
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import Victim
from harness.lazy import torch

STAGES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""Multiple of the budget, and share of the steps that are taken in that ball."""

SPARSER = 1.5
"""A step moves this many times fewer pixels than the best point so far has changed."""

SHRINK = 1.5
"""Divides the step size at a checkpoint, unless the best point has become sparser."""

SMALLEST_STEP = 0.1
"""As a multiple of the budget; the first and largest step is the budget itself."""

BECAME_SPARSER = 0.95
"""Share of the changed pixels below which the best point counts as sparser than before."""

CHECK_EVERY = 0.04
"""Share of the steps of a stage between checkpoints."""


def sparse_ascent(victim: Victim, task: Task, steps: int) -> torch.Tensor:
    """Climb ``task.objective`` in the L1 ball, from a random point.

    Args:
        victim: the network whose gradient is climbed.
        task: the images.
        steps: gradients that a sample may use, in all stages together.

    Returns:
        float32 (B, C, H, W), the iterate of smallest margin within the budget.
    """
    counts = [int(round(share * steps, 9)) for _, share in STAGES[:-1]]
    counts.append(steps - sum(counts))
    points = task.images + _noise(task)
    for (multiple, _), count in zip(STAGES, counts, strict=True):
        if not count:
            continue
        eps = multiple * task.eps
        start = project(points, task.images, "l1", eps) - task.images
        stage = replace(task, eps=eps, start=start)
        schedule = _Schedule(stage, count)
        # Only within the budget does a mistake count, and end a sample's search.
        last = multiple == STAGES[-1][0]
        candidates = ascend(
            victim, stage, schedule.move, norm="l1", random_start=False, steps=count, best=last
        )
        points = schedule.best_points
    return candidates.adversarial


def _noise(task: Task) -> torch.Tensor:
    """Standard normal noise of each sample, float32 (B, C, H, W)."""
    # scipy's function works value by value, so that no sample depends on its place in the batch.
    from scipy.special import ndtri

    shape = tuple(task.images.shape[1:])
    uniform = task.rng.per_sample_uniform("sparse start", task.identity, task.restart, shape)
    centred = uniform.astype(np.float64) / 2 + 0.5 + 2**-26
    return torch.from_numpy(ndtri(centred).astype(np.float32)).to(task.images.device)


class _Schedule:
    """What is remembered of every sample of a task, in tensors (N, ...).

    Attributes:
        size: L1 length of a step.
        pixels: how many pixels a step moves; not rounded.
        changed: pixels of the best point that differ from the image, at the last checkpoint.
        best_points: the iterates of highest loss.
        best_gradients: the gradients there.
        highest: the highest loss.
    """

    def __init__(self, task: Task, steps: int) -> None:
        n = len(task.images)
        device = task.images.device
        assert task.start is not None  # every stage brings one
        self.task = task
        self.period = max(int(CHECK_EVERY * steps), 1)
        self.size = torch.full((n,), float(task.eps), device=device)
        self.changed = _count(task.start)
        self.pixels = self.changed / SPARSER
        self.best_points = task.images.clone()
        self.best_gradients = torch.zeros_like(task.images)
        self.highest = torch.full((n,), -float("inf"), device=device)

    def move(self, work: WorkingSet, gradient: torch.Tensor, logits: torch.Tensor) -> None:
        """Move the points, each by its own sparse step."""
        rows = work.index
        gradient = finite(gradient)
        value = LOSSES[self.task.objective.loss](logits, work.labels, work.targets)
        # An empty slot must not write to the sample that has left it.
        better = work.live & (value > self.highest[rows])
        self.best_points[rows[better]] = work.points[better]
        self.best_gradients[rows[better]] = gradient[better]
        self.highest[rows[better]] = value[better]
        at_checkpoint = work.live & (work.steps > 0) & (work.steps % self.period == 0)
        back = column(self._reconsider(rows, at_checkpoint), gradient)
        points = torch.where(back, self.best_points[rows], work.points)
        gradient = torch.where(back, self.best_gradients[rows], gradient)
        step = _sparse_step(gradient, self.pixels[rows], self.size[rows])
        work.points = project(points + step, work.centres, "l1", self.task.eps)

    def _reconsider(self, rows: torch.Tensor, at_checkpoint: torch.Tensor) -> torch.Tensor:
        """Adapt length and sparsity of the steps of samples that are at a checkpoint.

        Returns:
            bool (B,): which samples go back to their best point.
        """
        chosen = rows[at_checkpoint]
        changed = _count(self.best_points[chosen] - self.task.images[chosen])
        sparser = changed < BECAME_SPARSER * self.changed[chosen]
        largest = torch.full_like(self.size[chosen], float(self.task.eps))
        shorter = (self.size[chosen] / SHRINK).maximum(SMALLEST_STEP * largest)
        self.size[chosen] = torch.where(sparser, largest, shorter)
        self.pixels[chosen] = changed / SPARSER
        self.changed[chosen] = changed
        back = torch.zeros_like(at_checkpoint)
        back[at_checkpoint] = sparser
        return back


def _count(deltas: torch.Tensor) -> torch.Tensor:
    """Number of values that are not zero, (B, ...) to float32 (B,)."""
    return (deltas != 0).flatten(1).sum(1).float()


def _sparse_step(gradient: torch.Tensor, pixels: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Equal moves of the pixels with the largest gradients; their sum is ``size``.

    Args:
        gradient: float32 (B, C, H, W).
        pixels: (B,), how many to move; at least one is moved.
        size: (B,).
    """
    steepness = gradient.abs().flatten(1)
    most = steepness.shape[1]
    place = (most - pixels).long().clamp(0, most - 1)
    least = steepness.sort(dim=1).values.gather(1, place[:, None])
    direction = torch.where(steepness >= least, gradient.flatten(1).sign(), 0)
    moved = direction.abs().sum(1, keepdim=True).clamp_min(1)
    return (direction * (size[:, None] / moved)).view_as(gradient)
