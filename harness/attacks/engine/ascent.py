"""Projected gradient ascent over many samples, each of which leaves as soon as it is broken.

Samples sit in slots. A sample that is broken, or has taken all its steps, makes room for the next
one. Matrix products round a row by its place among 16 (``harness.batching``). So a sample takes a
slot of its lane, its number modulo 16, and stays there: its path depends on itself and its lane,
and the number of slots changes no bit of it.
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
from harness.attacks.engine.victim import Victim, judge
from harness.batching import ROWS
from harness.lazy import torch

WORTH = 1 / 16
"""Share of empty slots from which filling or removing them costs less than computing them."""


class WorkingSet:
    """The samples that are being attacked. Row i of every tensor belongs to slot i.

    A slot that a sample has left is computed along with the others until it is filled or removed;
    ``live`` says which slots count.

    Attributes:
        index: int64 (S,), rows of the task.
        live: bool (S,), whether the slot's sample is still attacked.
        steps: int64 (S,), taken so far.
        points: float32 (S, C, H, W), the current iterates.
        centres: float32 (S, C, H, W), the clean images.
        labels: int64 (S,).
        targets: int64 (S,), the classes to reach; None if any wrong class will do.
        best: float32 (S, C, H, W), the iterates of smallest margin.
        lowest: float32 (S,), their margins; -inf once the sample is broken.
        memory: what an attack itself remembers of each sample, (S, ...) each; zeros for a sample
            that has just arrived.
    """

    def __init__(self, task: Task, size: int, norm: str, random_start: bool) -> None:
        self.task = task
        self.norm = norm
        self.random_start = random_start
        images = task.images
        total = len(images)
        slots = -(-min(size, total) // ROWS) * ROWS
        places = torch.arange(slots, device=images.device)
        arrived = places[places < total]
        # Slots beyond the last sample hold copies of the first one.
        self.index = torch.where(places < total, places, 0)
        self.live = places < total
        self.steps = torch.zeros_like(places)
        self.points = images[self.index]
        self.centres = self.points.clone()
        self.best = self.points.clone()
        self.labels = task.labels[self.index]
        self.targets = None if task.targets is None else task.targets[self.index]
        self.lowest = torch.full((slots,), float("inf"), device=images.device)
        self.memory: dict[str, torch.Tensor] = {}
        self.points[arrived] = self._start(arrived)
        # The next sample of each lane.
        self._next = slots + places[:ROWS]

    def recall(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """What the attack remembers under a name, a tensor like another one, to be changed."""
        if name not in self.memory:
            self.memory[name] = torch.zeros_like(like)
        return self.memory[name]

    def settle(self) -> None:
        """Let waiting samples into empty slots, then remove empty slots, where there are enough."""
        empty = len(self.live) - int(self.live.sum())
        if empty < WORTH * len(self.live):
            return
        if bool((self._next < len(self.task.images)).any()):
            self._fill()
        else:
            self._compact()

    def _fill(self) -> None:
        slots = (~self.live).nonzero().squeeze(1)
        lanes = slots % ROWS
        rows = self._next[lanes] + ROWS * _place_in_lane(lanes)
        arrived = rows < len(self.task.images)
        if not bool(arrived.any()):
            return
        self._next = self._next + ROWS * torch.bincount(lanes[arrived], minlength=ROWS)
        slots, rows = slots[arrived], rows[arrived]
        images = self.task.images[rows]
        self.index[slots] = rows
        self.live[slots] = True
        self.steps[slots] = 0
        self.points[slots] = self._start(rows)
        self.centres[slots] = images
        self.best[slots] = images
        self.labels[slots] = self.task.labels[rows]
        if self.targets is not None and self.task.targets is not None:
            self.targets[slots] = self.task.targets[rows]
        self.lowest[slots] = float("inf")
        for values in self.memory.values():
            values[slots] = 0

    def _compact(self) -> None:
        slots = self.live.nonzero().squeeze(1)
        lanes = slots % ROWS
        places = ROWS * _place_in_lane(lanes) + lanes
        size = ROWS * int(torch.bincount(lanes, minlength=ROWS).max())
        if size == len(self.live) or not size:
            return
        taken = torch.zeros(size, dtype=torch.int64, device=slots.device)
        taken[places] = slots
        self.live = torch.zeros_like(taken, dtype=torch.bool)
        self.live[places] = True
        self.index = self.index[taken]
        self.steps = self.steps[taken]
        self.points = self.points[taken]
        self.centres = self.centres[taken]
        self.best = self.best[taken]
        self.labels = self.labels[taken]
        self.targets = None if self.targets is None else self.targets[taken]
        self.lowest = self.lowest[taken]
        self.memory = {name: values[taken] for name, values in self.memory.items()}

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

    def judge(self, logits: torch.Tensor, *, certain: bool) -> torch.Tensor:
        """Record the best iterates so far. Returns which live samples are broken, bool (S,).

        Args:
            logits: (S, n), at the points.
            certain: whether one mistake breaks a sample.
        """
        correct, margin = judge(logits, self.labels)
        if certain:
            margin.masked_fill_(~correct, -float("inf"))
        better = margin < self.lowest
        torch.where(column(better, self.best), self.points, self.best, out=self.best)
        torch.where(better, margin, self.lowest, out=self.lowest)
        return self.live & ~correct if certain else torch.zeros_like(self.live)


def _place_in_lane(lanes: torch.Tensor) -> torch.Tensor:
    """For each sample, how many samples of its lane come before it: (B,) to (B,)."""
    one_hot = lanes[:, None] == torch.arange(ROWS, device=lanes.device)
    return one_hot.long().cumsum(0).gather(1, lanes[:, None]).squeeze(1) - 1


class Ends:
    """What is kept of every sample of a task: its best iterate, and its last one.

    Attributes:
        best: float32 (N, C, H, W), the iterate of smallest margin.
        last: float32 (N, C, H, W).
        lowest: float32 (N,), the margin of ``best``; -inf if the sample is broken.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.best = torch.empty_like(task.images)
        self.last = torch.empty_like(task.images)
        self.lowest = torch.empty(len(task.images), device=self.best.device)

    def collect(self, work: WorkingSet, leaving: torch.Tensor) -> None:
        """Record the samples of some slots, bool (S,), and empty the slots."""
        slots = leaving.nonzero().squeeze(1)
        if not len(slots):
            return
        rows = work.index[slots]
        self.best[rows] = work.best[slots]
        self.last[rows] = work.points[slots]
        self.lowest[rows] = work.lowest[slots]
        work.live[slots] = False

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
"""Moves ``work.points`` by one step, given the gradient (S, C, H, W) and logits (S, n) there."""


def ascend(
    victim: Victim,
    task: Task,
    move: Move,
    *,
    norm: str,
    random_start: bool,
    steps: int,
    best: bool,
) -> Candidates:
    """Climb ``task.objective`` from every image of a task.

    Args:
        victim: the network whose gradient is climbed.
        task: the images.
        move: makes one step.
        norm: ``linf``, ``l2`` or ``l1``.
        random_start: start at a random point of the ball, unless the task brings a start.
        steps: gradients that a sample may use.
        best: return the iterate of smallest margin, and stop at the first mistake; otherwise return
            the last iterate.
    """
    loss = LOSSES[task.objective.loss]
    work = WorkingSet(task, victim.batch_size, norm, random_start)
    ends = Ends(task)
    while bool(work.live.any()):
        gradient, logits = victim.gradient(work.points, work.labels, work.targets, loss)
        if best:
            # If the network draws, a mistake may be the noise's: go on.
            ends.collect(work, work.judge(logits, certain=not victim.stochastic))
        move(work, gradient, logits)
        work.steps += work.live
        ends.collect(work, work.live & (work.steps >= steps))
        work.settle()
    adversarial = ends.choose(victim) if best else ends.last
    return Candidates(adversarial, ends.last - task.images)


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

    def move(work: WorkingSet, gradient: torch.Tensor, logits: torch.Tensor) -> None:
        direction = _accumulated(work, gradient, momentum) if momentum else gradient
        ahead = steepest_step(work.points, direction, norm, step_size)
        work.points = project(ahead, work.centres, norm, task.eps)

    return ascend(victim, task, move, norm=norm, random_start=random_start, steps=steps, best=best)


def _accumulated(work: WorkingSet, gradient: torch.Tensor, decay: float) -> torch.Tensor:
    """The decaying sum of gradients, each scaled to L1 norm 1 (Dong et al. 2018, eq. 6)."""
    gradient = finite(gradient)
    size = column(norms(gradient, "l1"), gradient)
    unit = gradient / size.clamp_min(torch.finfo(gradient.dtype).tiny)
    return work.recall("momentum", gradient).mul_(decay).add_(unit)
