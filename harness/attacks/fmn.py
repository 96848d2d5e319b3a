"""Fast minimum-norm attack (Pintor et al. 2021): one run gives robust accuracy at every budget."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.attacks.base import Attack, AttackConfig, Attempt, Trial
from harness.attacks.engine.geometry import direction, nearest, norms
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.victim import Backward, Victim, judge
from harness.batching import ROWS
from harness.lazy import torch
from harness.registry import attacks

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
STEPS = (1.0, 0.01)
"""First and last length of a step, in L2; in between they follow half a cosine."""

SHARE = (0.05, 0.001)
"""First and last share by which a budget is changed."""


@attacks.register("fmn")
class FMN(Attack):
    """Fast minimum-norm: the smallest perturbation that misleads, by a budget that follows the boundary."""

    keeps_failures = True

    class Config(AttackConfig):
        """Keys of FMN."""

        norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
        steps: int = Field(200, ge=2, le=10_000, description="gradient steps")
        backward: Backward = Field(
            "exact", description="straight-through: rounding and steps pass a gradient on (BPDA)"
        )

    @property
    def name(self) -> str:
        return f"fmn-{self.config.steps}"

    @property
    def climbs(self) -> tuple[str, ...]:
        return ("margin",)

    @property
    def minimal(self) -> bool:
        return True

    def words(self) -> str:
        c = self.config
        averaged = f", {c.samples} passes averaged" if c.samples > 1 else ""
        through = ", straight-through backward" if c.backward != "exact" else ""
        return (
            f"{c.norm}, eps {', '.join(f'{eps:g}' for eps in c.eps)}, {c.steps} steps on the margin, smallest perturbation "
            f"found, counted where its norm is within eps{averaged}{through}"
        )

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        """The smallest perturbation of each sample that was found; the image itself where none was."""
        size = (
            -(-victim.batch_size // ROWS) * ROWS
        )  # a sample keeps its place among 16, see harness.batching
        found = [
            self._chunk(victim, trial, slice(start, start + size))
            for start in range(0, len(trial.images), size)
        ]
        return Attempt(torch.cat(found))

    def _chunk(self, victim: Victim, trial: Trial, rows: slice) -> torch.Tensor:
        images, labels, norm = trial.images[rows], trial.labels[rows], self.config.norm
        points, found = images.clone(), images.clone()
        least = torch.full((len(images),), float("inf"), device=images.device)
        eps = least.clone()
        for step in range(self.config.steps):
            gradient, logits = victim.gradient(points, labels, None, LOSSES["margin"])
            gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
            correct, margin = judge(logits, labels)
            now = norms(points - images, norm)
            better = ~correct & (now < least)
            found[better], least = points[better], torch.where(better, now, least)
            slope, share = norms(gradient, DUAL[norm]), _annealed(SHARE, step, self.config.steps)
            eps = _budget(eps, now, least, correct, margin, slope, share)
            moved_on = points + _annealed(STEPS, step, self.config.steps) * direction(
                gradient, "l2"
            )
            points = nearest(moved_on, images, norm, eps)
        correct, _ = judge(victim.logits(points), labels)
        better = ~correct & (norms(points - images, norm) < least)
        found[better] = points[better]
        return found

    def stronger(self) -> FMN:
        return FMN(self.config.model_copy(update={"steps": 2 * self.config.steps}))


def _budget(
    eps: torch.Tensor,
    now: torch.Tensor,
    least: torch.Tensor,
    correct: torch.Tensor,
    margin: torch.Tensor,
    slope: torch.Tensor,
    share: float,
) -> torch.Tensor:
    """Smaller than the best where a sample is misled, larger where it is not; before that, just beyond the boundary it seems."""
    seems = (now + margin.clamp_min(0) / slope.clamp_min(1e-12)) * (1 + share)
    inward = torch.minimum(eps, least) * (1 - share)
    return torch.where(least.isinf(), seems, torch.where(correct, eps * (1 + share), inward))


def _annealed(ends: tuple[float, float], step: int, steps: int) -> float:
    """From the first to the last along half a cosine."""
    return ends[1] + (ends[0] - ends[1]) * (1 + math.cos(math.pi * step / steps)) / 2
