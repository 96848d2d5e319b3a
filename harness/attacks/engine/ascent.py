"""Projected gradient ascent over many samples, each of which leaves as soon as it is broken.

The working set is kept full: a sample that is broken, or has taken its steps, makes room for the next one. Matrix
products round a row by its place among 16 (harness.batching), so a sample keeps its lane, its number modulo 16, as
long as it is under way: its path depends on itself and its lane, and the size of the working set changes no bit of it.
"""

from __future__ import annotations

from harness.attacks.base import Attempt, Trial
from harness.attacks.engine.geometry import climb, column, moved, norms, project, random_in_ball
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import LossFunction, Victim, judge
from harness.batching import ROWS
from harness.lazy import torch


class WorkingSet:
    """Samples under way. Row i of every tensor belongs to sample ``index[i]`` of the trial.

    Most steps drop nobody, so nothing is copied or placed anew but when somebody came or went.
    """

    def __init__(self, trial: Trial, norm: str, random_start: bool, momentum: float = 0.0):
        self.trial, self.norm, self.random_start = trial, norm, random_start
        images = trial.images
        self.waiting = torch.arange(len(images), device=images.device)
        self.index = self.waiting[:0]
        self.points, self.centres, self.labels = images[:0], images[:0], trial.labels[:0]
        self.steps = self.index
        self._lanes: tuple[torch.Tensor, torch.Tensor] | None = None
        self.memory = torch.zeros_like(images) if momentum else None
        self.momentum = momentum

    def fill(self, size: int) -> None:
        """Take in waiting samples until every lane is full: ``size`` are under way, rounded up to a multiple of 16."""
        if not len(self.waiting):
            return
        room = -(-size // ROWS) - torch.bincount(self.index % ROWS, minlength=ROWS)
        fits = _place_in_lane(self.waiting) < room[self.waiting % ROWS]
        new = self.waiting[fits]
        if not len(new):
            return
        self.waiting = self.waiting[~fits]
        self.index = torch.cat([self.index, new])
        self.points = torch.cat([self.points, self._start(new)])
        self.steps = torch.cat([self.steps, torch.zeros_like(new)])
        self._settle()

    def _start(self, rows: torch.Tensor) -> torch.Tensor:
        trial, images = self.trial, self.trial.images[rows]
        if trial.start is not None:
            return moved(images, trial.start[rows], self.norm)
        if not self.random_start:
            return images
        identity = trial.identity[rows.cpu().numpy()]
        noise = random_in_ball(
            trial.rng, identity, trial.restart, tuple(images.shape[1:]), self.norm, trial.eps
        )
        return moved(images, noise.to(images.device), self.norm)

    def gradient(self, victim: Victim, loss: LossFunction) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the loss at the points, and the logits there, every sample in its lane."""
        targets = None if self.trial.targets is None else self.trial.targets[self.index]
        if self._lanes is None:
            return victim.gradient(self.points, self.labels, targets, loss)
        rows, slots = self._lanes
        targets = None if targets is None else targets[rows]
        gradient, logits = victim.gradient(self.points[rows], self.labels[rows], targets, loss)
        return gradient[slots], logits[slots]

    def _settle(self) -> None:
        """What follows from ``index``: whose images and labels, and who sits where (None: everybody in line already)."""
        self.centres, self.labels = self.trial.images[self.index], self.trial.labels[self.index]
        slots = _place_in_lane(self.index) * ROWS + self.index % ROWS
        in_line = torch.arange(len(slots), device=slots.device)
        if not len(slots) or torch.equal(slots, in_line):
            self._lanes = None
            return
        rows = torch.zeros(
            -(-(int(slots.max()) + 1) // ROWS) * ROWS, dtype=torch.int64, device=slots.device
        )
        rows[slots] = in_line  # an empty slot repeats the first sample
        self._lanes = rows, slots

    def remembered(self, gradient: torch.Tensor) -> torch.Tensor:
        """Each sample's gradients so far, at L1 norm one and fading by ``momentum`` a step (Dong et al. 2018, eq. 6)."""
        if self.memory is None:
            return gradient
        finite = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        size = column(norms(finite, "l1"), finite).clamp_min(torch.finfo(finite.dtype).tiny)
        self.memory[self.index] = self.momentum * self.memory[self.index] + finite / size
        return self.memory[self.index]

    def keep(self, rows: torch.Tensor) -> None:
        """Drop the rows that are False."""
        if not bool(rows.all()):
            self.index, self.points, self.steps = (
                self.index[rows],
                self.points[rows],
                self.steps[rows],
            )
            self._settle()


def _place_in_lane(index: torch.Tensor) -> torch.Tensor:
    """For each sample, how many of the same lane stand before it: (B,) -> (B,)."""
    lane = index % ROWS
    one_hot = lane[:, None] == torch.arange(ROWS, device=index.device)
    return one_hot.long().cumsum(0).gather(1, lane[:, None]).squeeze(1) - 1


def ascend(
    victim: Victim,
    trial: Trial,
    *,
    norm: str,
    steps: int,
    step_size: float,
    random_start: bool,
    best: bool,
    momentum: float = 0.0,
) -> Attempt:
    """Climb ``trial.objective`` within the ball.

    Args:
        norm: ``linf`` (Madry et al. 2018), ``l2`` or ``l1``.
        steps: gradients a sample may use.
        step_size: in pixel units.
        random_start: start at a random point of the ball, unless the trial brings a start.
        best: return the iterate of smallest margin and stop at the first mistake; otherwise the last iterate.
        momentum: decay of the accumulated gradients that are climbed (Dong et al. 2018); 0: the last gradient alone.
    """
    loss = LOSSES[trial.objective.loss]
    work = WorkingSet(trial, norm, random_start, momentum)
    found, last = trial.images.clone(), trial.images.clone()
    lowest = torch.full((len(found),), float("inf"), device=found.device)
    while True:
        work.fill(victim.batch_size)
        if not len(work.index):
            break
        gradient, logits = work.gradient(victim, loss)
        if best:
            correct = keep_best(victim, logits, work, found, last, lowest)
            gradient = gradient if bool(correct.all()) else gradient[correct]
            work.keep(correct)
        work.points = project(
            climb(work.points, work.remembered(gradient), norm, step_size),
            work.centres,
            norm,
            trial.eps,
        )
        work.steps = work.steps + 1
        done = work.steps >= steps
        if bool(done.any()):
            last[work.index[done]] = work.points[done]
            work.keep(~done)
    return Attempt(
        choose(victim, trial, found, last, lowest) if best else last, last - trial.images
    )


def keep_best(
    victim: Victim,
    logits: torch.Tensor,
    work: WorkingSet,
    found: torch.Tensor,
    last: torch.Tensor,
    lowest: torch.Tensor,
) -> torch.Tensor:
    """Note the iterates that are the best so far; which samples still stand."""
    correct, margin = judge(logits, work.labels)
    correct = (
        correct | victim.stochastic
    )  # a mistake may be the noise's: climb on, and keep the deepest
    margin = torch.where(correct, margin, torch.full_like(margin, float("-inf")))
    better = margin < lowest[work.index]
    found[work.index[better]] = work.points[better]
    lowest[work.index[better]] = margin[better]
    last[work.index[~correct]] = work.points[~correct]
    return correct


def choose(
    victim: Victim, trial: Trial, found: torch.Tensor, last: torch.Tensor, lowest: torch.Tensor
) -> torch.Tensor:
    """The last iterates have not been judged yet: take them where they are better than the best before them."""
    open_rows = (lowest > float("-inf")).nonzero().squeeze(1)
    if not len(open_rows):
        return found
    correct, margin = judge(victim.logits(last[open_rows]), trial.labels[open_rows])
    better = open_rows[(margin < lowest[open_rows]) | ~correct]
    found[better] = last[better]
    return found
