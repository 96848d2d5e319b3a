"""Fast adaptive boundary attack, targeted (Croce & Hein 2020, arXiv 1907.02044, algorithm 1)."""

from __future__ import annotations

from pydantic import Field

from harness.attacks.base import Candidates, Task
from harness.attacks.config import eps_words
from harness.attacks.engine.geometry import column, finite, norms
from harness.attacks.engine.in_turn import runners_up
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.plane import to_plane
from harness.attacks.engine.victim import Victim, judge
from harness.attacks.minimal import Minimal, MinimalConfig
from harness.batching import ROWS
from harness.lazy import torch
from harness.registry import attacks

LARGEST_PULL = 0.1
"""Largest share of a step that leads from the image, not from the iterate, to the boundary."""

OVERSHOOT = 1.05
"""Steps end this many times as far away as the boundary's linear estimate."""

BACKWARD_STEP = 0.9
"""Share of its perturbation that an iterate keeps once it is misclassified."""

SMALLEST_DISTANCE = 1e-8
"""Keeps the ratio of two distances to the boundary defined where both are zero."""


@attacks.register("fab")
class FAB(Minimal):
    """Fast adaptive boundary: the smallest misleading perturbation, towards runner-up classes."""

    class Config(MinimalConfig):
        """Keys of FAB."""

        steps: int = Field(100, ge=1, le=10_000, description="gradient steps for each target")
        targets: int = Field(
            9, ge=1, le=1000, description="runner-up classes; every wrong class if there are fewer"
        )

    config: Config

    def words(self) -> str:
        """Describe its settings."""
        config = self.config
        return (
            f"{config.norm}, eps {eps_words(config)}, {config.steps} steps towards each of "
            f"{config.targets} runner-up classes (all wrong ones if fewer), {self.found_words}"
        )

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Find the smallest misleading perturbation of each sample; without one, keep the image."""
        images = task.images
        adversarial = images.clone()
        least = torch.full((len(images),), float("inf"), device=images.device)
        for targets in runners_up(victim, task, self.config.targets):
            points, size = cross_boundary(
                victim, task, targets, self.config.norm, self.config.steps
            )
            better = size < least
            adversarial[better] = points[better]
            least = torch.minimum(size, least)
        return Candidates(adversarial)


def cross_boundary(
    victim: Victim, task: Task, targets: torch.Tensor, norm: str, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One run of FAB from every image of a task, towards one class each.

    Args:
        victim: the network.
        task: the images and labels.
        targets: int64 (B,).
        norm: ``linf``, ``l2`` or ``l1``.
        steps: gradient steps.

    Returns:
        float32 (B, C, H, W), the smallest perturbed images that are misclassified, as any class;
        and float32 (B,), the norms of their perturbations. Where none was found, the last iterate,
        and infinity.
    """
    # Chunks of whole lanes: a sample keeps its place among 16 (harness.batching).
    size = -(-victim.batch_size // ROWS) * ROWS
    chunks = [
        _cross(victim, *rows, norm, steps)
        for rows in zip(
            task.images.split(size), task.labels.split(size), targets.split(size), strict=True
        )
    ]
    points, least = zip(*chunks, strict=True)
    return torch.cat(points), torch.cat(least)


def _cross(
    victim: Victim,
    images: torch.Tensor,
    labels: torch.Tensor,
    targets: torch.Tensor,
    norm: str,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    points = images
    best = images.clone()
    least = torch.full((len(images),), float("inf"), device=images.device)
    for _ in range(steps):
        gradient, logits = victim.gradient(points, labels, targets, LOSSES["margin"])
        height = LOSSES["margin"](logits, labels, targets)
        points = _step(points, images, finite(gradient), height, norm)
        correct, _ = judge(victim.logits(points), labels)
        size = norms(points - images, norm)
        better = ~correct & (size < least)
        best[better] = points[better]
        least = torch.where(better, size, least)
        points[~correct] = torch.lerp(images[~correct], points[~correct], BACKWARD_STEP)
    never = column(least.isinf(), best)
    return torch.where(never, points, best), least


def _step(
    points: torch.Tensor,
    images: torch.Tensor,
    gradient: torch.Tensor,
    height: torch.Tensor,
    norm: str,
) -> torch.Tensor:
    """A convex combination of two steps just beyond the linear estimate of the boundary.

    One starts at the iterate, the other at the image; the nearer the iterate is to the boundary
    compared with the image, the smaller the share of the second.

    Args:
        points: float32 (B, C, H, W), the iterates.
        images: float32 like ``points``.
        gradient: float32 like ``points``, of the target's logit minus the right one.
        height: (B,), that difference at the iterates.
        norm: ``linf``, ``l2`` or ``l1``.
    """
    normals = gradient.flatten(1)
    from_image = (images - points).flatten(1)
    gap = -height
    gap_of_image = gap - (normals * from_image).sum(1)
    step = to_plane(points.flatten(1), normals, gap, norm)
    step_of_image = to_plane(images.flatten(1), normals, gap_of_image, norm)
    length = norms(step, norm).clamp_min(SMALLEST_DISTANCE)
    length_of_image = norms(step_of_image, norm).clamp_min(SMALLEST_DISTANCE)
    pull = (length / (length + length_of_image)).clamp_max(LARGEST_PULL)
    pull = column(pull, points)
    ahead = points + OVERSHOOT * step.view_as(points)
    ahead_of_image = images + OVERSHOOT * step_of_image.view_as(points)
    return ((1 - pull) * ahead + pull * ahead_of_image).clamp(0, 1)
