"""Adversarial patch: a square of any content, anywhere in the image (Brown et al. 2017).

Places are searched first and contents second, as in location-optimised patches (Rao et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from harness import budgets
from harness.attacks.base import Attack, Candidates, Fault, Objective, Task
from harness.attacks.config import AttackConfig, Problem, config_error, eps_words, view_words
from harness.attacks.engine.ascent import WorkingSet, ascend
from harness.attacks.engine.geometry import finite
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import Backward, Victim, judge
from harness.lazy import torch
from harness.registry import attacks

LOSS = "margin"


@attacks.register("patch")
class Patch(Attack):
    """A square patch of any content anywhere; eps is its side in pixels."""

    class Config(AttackConfig):
        """Keys of the patch attack."""

        norm: Literal["patch"] = Field("patch", description="patch: side of a square, in pixels")
        eps: budgets.Budgets = Field(
            description="sides of the square in pixels, ascending whole numbers; one needs no list"
        )
        stride: int = Field(2, ge=1, le=100, description="pixels between the places tried")
        places: int = Field(
            5, ge=1, le=10_000, description="places whose contents are optimised, the best ones"
        )
        steps: int = Field(40, ge=1, le=10_000, description="gradient steps at each such place")
        backward: Backward = Field(
            "exact", description="straight-through: rounding and steps pass a gradient on (BPDA)"
        )

        @field_validator("eps")
        @classmethod
        def _whole(cls, sides: list[float]) -> list[float]:
            problems: list[Problem] = []
            for place, side in enumerate(sides):
                if side != round(side):
                    message = f"a side is a whole number of pixels, not {budgets.words(side)}"
                    problems.append(((place,), message, side))
            if problems:
                raise config_error(problems)
            return sides

    config: Config

    @property
    def name(self) -> str:
        """With the number of steps."""
        return f"{self.kind}-{self.config.steps}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The margin."""
        return (Objective(LOSS),)

    def words(self) -> str:
        """Describe its settings."""
        config = self.config
        return (
            f"square patch of any content, side eps {eps_words(config)} pixels, "
            f"{config.sweep} sweep; places {config.stride} apart, at the best {config.places} "
            f"PGD of {config.steps} steps on the margin{view_words(config)}"
        )

    def stronger(self) -> Self:
        """The same attack with twice the steps."""
        return type(self)(self.config.model_copy(update={"steps": 2 * self.config.steps}))

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find patches that are larger than the image."""
        yield from super().faults(image_shape, n_classes)
        most = min(image_shape[1:])
        for place, side in enumerate(self.config.eps):
            if side > most:
                message = f"a patch of side {side:g} does not fit into {most} pixels"
                yield ("eps", place), message, f"at most {most}"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Try every place with the content that the gradient promises, then climb at the best."""
        side = round(task.eps)
        if side == 0:
            return Candidates(task.images)
        images = task.images
        windows = _windows(images.shape[2], images.shape[3], side, self.config.stride)
        windows = windows.to(images.device)
        filled = _promised(victim, task)
        margins = torch.full((len(images), len(windows)), float("inf"), device=images.device)
        best = _Best(images)
        for number, window in enumerate(windows):
            rows = best.standing
            if not len(rows):
                break
            points = torch.where(window, filled[rows], images[rows])
            margins[rows, number] = best.keep(victim, task, rows, points)
        nearest = margins.argsort(dim=1, stable=True)[:, : self.config.places]
        for rank in range(nearest.shape[1]):
            rows = best.standing
            if not len(rows):
                break
            at = windows[nearest[rows, rank]][:, None]
            points = self._climb(victim, task, rows, at, filled)
            best.keep(victim, task, rows, points)
        return Candidates(best.points, sizes=extent(best.points - images))

    def _climb(
        self,
        victim: Victim,
        task: Task,
        rows: torch.Tensor,
        at: torch.Tensor,
        filled: torch.Tensor,
    ) -> torch.Tensor:
        """Climb the margin inside one window of each image, from the content tried there."""
        images = task.images[rows]
        step = 2.5 / self.config.steps
        run = replace(
            task,
            images=images,
            labels=task.labels[rows],
            identity=task.identity[rows.cpu().numpy()],
            start=torch.where(at, filled[rows] - images, 0),
        )

        def move(work: WorkingSet, gradient: torch.Tensor, logits: torch.Tensor) -> None:
            ahead = (work.points + step * finite(gradient).sign()).clamp(0, 1)
            work.points = torch.where(at[work.index], ahead, work.points)

        candidates = ascend(
            victim,
            run,
            move,
            norm="linf",
            random_start=False,
            steps=self.config.steps,
            best=True,
        )
        return candidates.adversarial


class _Best:
    """The best image so far of each sample.

    Attributes:
        points: float32 (B, C, H, W).
        standing: int64, rows of the samples that nothing has broken.
    """

    def __init__(self, images: torch.Tensor) -> None:
        self.points = images.clone()
        self.standing = torch.arange(len(images), device=images.device)
        self._lowest = torch.full((len(images),), float("inf"), device=images.device)

    def keep(
        self, victim: Victim, task: Task, rows: torch.Tensor, points: torch.Tensor
    ) -> torch.Tensor:
        """Keep what is better, forget rows that are broken, and return the margins."""
        correct, margin = judge(victim.logits(points), task.labels[rows])
        better = ~correct | (margin < self._lowest[rows])
        self.points[rows[better]] = points[better]
        self._lowest[rows[better]] = margin[better]
        self.standing = rows[correct]
        return margin


def _windows(height: int, width: int, side: int, stride: int) -> torch.Tensor:
    """Where each place of the square is, bool (P, H, W); the last row and column are included."""
    tops = sorted({*range(0, height - side, stride), height - side})
    lefts = sorted({*range(0, width - side, stride), width - side})
    windows = torch.zeros(len(tops) * len(lefts), height, width, dtype=torch.bool)
    for number, window in enumerate(windows):
        top = tops[number // len(lefts)]
        left = lefts[number % len(lefts)]
        window[top : top + side, left : left + side] = True
    return windows


def _promised(victim: Victim, task: Task) -> torch.Tensor:
    """Every pixel at the end of the box towards which the margin rises: exact if it is linear."""
    gradients = []
    for rows in torch.arange(len(task.images)).split(victim.batch_size):
        gradient, _ = victim.gradient(task.images[rows], task.labels[rows], None, LOSSES[LOSS])
        gradients.append(finite(gradient))
    rises: Any = torch.cat(gradients) > 0
    return rises.to(task.images.dtype)


def extent(difference: torch.Tensor) -> torch.Tensor:
    """Side of the smallest square that covers what differs, (B, C, H, W) to float32 (B,).

    >>> import torch
    >>> difference = torch.zeros(1, 1, 5, 5)
    >>> difference[0, 0, 1, 1:4] = 0.5
    >>> extent(difference)
    tensor([3.])
    """
    changed = (difference != 0).any(1)
    sides = []
    for axis in (1, 2):
        line = changed.any(axis)
        places = torch.arange(1, line.shape[1] + 1, device=line.device)
        last = torch.where(line, places, 0).amax(1)
        first = torch.where(line, places, line.shape[1] + 1).amin(1)
        sides.append((last - first + 1).clamp_min(0))
    return torch.maximum(*sides).float()
