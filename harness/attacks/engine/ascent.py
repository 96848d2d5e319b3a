"""Projected gradient ascent over many samples, each of which leaves as soon as it is broken.

The working set is kept full: a sample that is broken, or has taken all its steps, makes room for
the next one. Matrix products round a row by its place among 16 (``harness.batching``). So a sample
keeps its lane, its number modulo 16, as long as it is in the set: its path depends on itself and
its lane, and the size of the working set changes no bit of it.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.attacks.base import Candidates, Task
from harness.attacks.engine.geometry import (
    apply_delta,
    column,
    finite,
    norms,
    project,
    random_in_ball,
    steepest_step,
)
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import LossFunction, Victim, judge
from harness.batching import ROWS
from harness.lazy import torch


class WorkingSet:
    """The samples that are being attacked. Row i of every tensor belongs to sample ``index[i]``.

    Attributes:
        index: int64 (B,), rows of the task.
        points: float32 (B, C, H, W), the current iterates.
        centres: float32 (B, C, H, W), the clean images.
        labels: int64 (B,).
        steps: int64 (B,), steps taken so far.
    """

    def __init__(self, task: Task, norm: str, random_start: bool, momentum: float = 0.0) -> None:
        self.task = task
        self.norm = norm
        self.random_start = random_start
        images = task.images
        self.waiting = torch.arange(len(images), device=images.device)
        self.index = self.waiting[:0]
        self.points = images[:0]
        self.centres = images[:0]
        self.labels = task.labels[:0]
        self.steps = self.index
        self.momentum = momentum
        self._accumulated = torch.zeros_like(images) if momentum else None
        self._lanes: tuple[torch.Tensor, torch.Tensor] | None = None

    def fill(self, size: int) -> None:
        """Add waiting samples until every lane is full.

        Args:
            size: samples in all lanes together; rounded up to a multiple of 16.
        """
        if not len(self.waiting):
            return
        per_lane = -(-size // ROWS)
        room = per_lane - torch.bincount(self.index % ROWS, minlength=ROWS)
        fits = _place_in_lane(self.waiting) < room[self.waiting % ROWS]
        new = self.waiting[fits]
        if not len(new):
            return
        self.waiting = self.waiting[~fits]
        self.index = torch.cat([self.index, new])
        self.points = torch.cat([self.points, self._start(new)])
        self.steps = torch.cat([self.steps, torch.zeros_like(new)])
        self._update_lanes()

    def _start(self, rows: torch.Tensor) -> torch.Tensor:
        task = self.task
        images = task.images[rows]
        if task.start is not None:
            return apply_delta(images, task.start[rows], self.norm)
        if not self.random_start:
            return images
        identity = task.identity[rows.cpu().numpy()]
        shape = tuple(images.shape[1:])
        noise = random_in_ball(task.rng, identity, task.restart, shape, self.norm, task.eps)
        return apply_delta(images, noise.to(images.device), self.norm)

    @property
    def targets(self) -> torch.Tensor | None:
        """The classes to reach, int64 (B,); None if any wrong class will do."""
        return None if self.task.targets is None else self.task.targets[self.index]

    def gradient(self, victim: Victim, loss: LossFunction) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the loss at the points, and the logits there; every sample is in its lane."""
        if self._lanes is None:
            return victim.gradient(self.points, self.labels, self.targets, loss)
        rows, slots = self._lanes
        targets = None if self.targets is None else self.targets[rows]
        gradient, logits = victim.gradient(self.points[rows], self.labels[rows], targets, loss)
        return gradient[slots], logits[slots]

    def _update_lanes(self) -> None:
        """Set what follows from ``index``; only needed after samples came or went."""
        self.centres = self.task.images[self.index]
        self.labels = self.task.labels[self.index]
        slots = _place_in_lane(self.index) * ROWS + self.index % ROWS
        in_order = torch.arange(len(slots), device=slots.device)
        if not len(slots) or torch.equal(slots, in_order):
            self._lanes = None
            return
        size = -(-(int(slots.max()) + 1) // ROWS) * ROWS
        rows = torch.zeros(size, dtype=torch.int64, device=slots.device)
        rows[slots] = in_order  # an empty slot repeats the first sample
        self._lanes = rows, slots

    def accumulate(self, gradient: torch.Tensor) -> torch.Tensor:
        """Add the gradient, scaled to L1 norm 1, to each sample's decaying sum, and return the sum.

        Dong et al. 2018, eq. 6. Without momentum the gradient is returned as it is.
        """
        if self._accumulated is None:
            return gradient
        gradient = finite(gradient)
        size = column(norms(gradient, "l1"), gradient)
        unit = gradient / size.clamp_min(torch.finfo(gradient.dtype).tiny)
        self._accumulated[self.index] = self.momentum * self._accumulated[self.index] + unit
        return self._accumulated[self.index]

    def keep(self, rows: torch.Tensor) -> None:
        """Drop the rows that are False."""
        if not bool(rows.all()):
            self.index = self.index[rows]
            self.points = self.points[rows]
            self.steps = self.steps[rows]
            self._update_lanes()


def _place_in_lane(index: torch.Tensor) -> torch.Tensor:
    """For each sample, how many samples of its lane come before it: (B,) to (B,)."""
    lane = index % ROWS
    one_hot = lane[:, None] == torch.arange(ROWS, device=index.device)
    return one_hot.long().cumsum(0).gather(1, lane[:, None]).squeeze(1) - 1


class Iterates:
    """What is remembered of every sample of a task: its best iterate so far, and its last one.

    Attributes:
        best: float32 (N, C, H, W), the iterate of smallest margin.
        last: float32 (N, C, H, W).
        lowest: float32 (N,), the margin of ``best``; -inf once the sample is broken.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.best = task.images.clone()
        self.last = task.images.clone()
        n = len(task.images)
        self.lowest = torch.full((n,), float("inf"), device=self.best.device)

    def update(self, victim: Victim, logits: torch.Tensor, work: WorkingSet) -> torch.Tensor:
        """Record the best iterates so far. Returns which samples are not broken, bool (B,)."""
        correct, margin = judge(logits, work.labels)
        # If the network draws, a mistake may be the noise's: go on, and keep the smallest margin.
        correct = correct | victim.stochastic
        margin = torch.where(correct, margin, torch.full_like(margin, float("-inf")))
        better = margin < self.lowest[work.index]
        self.best[work.index[better]] = work.points[better]
        self.lowest[work.index[better]] = margin[better]
        self.last[work.index[~correct]] = work.points[~correct]
        return correct

    def finish(self, work: WorkingSet, finished: torch.Tensor) -> None:
        """Record the last iterates of the samples that have taken all steps, and drop them."""
        if bool(finished.any()):
            self.last[work.index[finished]] = work.points[finished]
            work.keep(~finished)

    def choose(self, victim: Victim) -> torch.Tensor:
        """The best iterates, including the last ones, which have not been judged yet."""
        unbroken = (self.lowest > float("-inf")).nonzero().squeeze(1)
        if not len(unbroken):
            return self.best
        logits = victim.logits(self.last[unbroken])
        correct, margin = judge(logits, self.task.labels[unbroken])
        better = unbroken[(margin < self.lowest[unbroken]) | ~correct]
        self.best[better] = self.last[better]
        return self.best


Move = Callable[[WorkingSet, "torch.Tensor", "torch.Tensor"], None]
"""Moves ``work.points`` by one step, given the gradient (B, C, H, W) and logits (B, n) there."""


def ascend(
    victim: Victim,
    task: Task,
    work: WorkingSet,
    move: Move,
    *,
    steps: int,
    best: bool,
) -> Candidates:
    """Climb ``task.objective`` from every image of a task.

    Args:
        victim: the network whose gradient is climbed.
        task: the images.
        work: an empty working set of the task.
        move: makes one step.
        steps: gradients that a sample may use.
        best: return the iterate of smallest margin, and stop at the first mistake; otherwise return
            the last iterate.
    """
    loss = LOSSES[task.objective.loss]
    iterates = Iterates(task)
    while True:
        work.fill(victim.batch_size)
        if not len(work.index):
            break
        gradient, logits = work.gradient(victim, loss)
        if best:
            correct = iterates.update(victim, logits, work)
            if not bool(correct.all()):
                gradient = gradient[correct]
                logits = logits[correct]
                work.keep(correct)
        if len(work.index):
            move(work, gradient, logits)
        work.steps = work.steps + 1
        iterates.finish(work, work.steps >= steps)
    adversarial = iterates.choose(victim) if best else iterates.last
    return Candidates(adversarial, iterates.last - task.images)


def projected_ascent(
    victim: Victim,
    task: Task,
    *,
    norm: str,
    steps: int,
    step_size: float,
    random_start: bool,
    best: bool,
    momentum: float = 0.0,
) -> Candidates:
    """Projected gradient ascent with steps of one size (Madry et al. 2018).

    Args:
        victim: the network whose gradient is climbed.
        task: the images.
        norm: ``linf``, ``l2`` or ``l1``.
        steps: gradients that a sample may use.
        step_size: in pixel units.
        random_start: start at a random point of the ball, unless the task brings a start.
        best: as for ``ascend``.
        momentum: decay of the accumulated gradients (Dong et al. 2018); 0: the last gradient alone.
    """
    work = WorkingSet(task, norm, random_start, momentum)

    def move(work: WorkingSet, gradient: torch.Tensor, logits: torch.Tensor) -> None:
        ahead = steepest_step(work.points, work.accumulate(gradient), norm, step_size)
        work.points = project(ahead, work.centres, norm, task.eps)

    return ascend(victim, task, work, move, steps=steps, best=best)
