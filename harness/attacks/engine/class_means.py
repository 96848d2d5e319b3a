"""Transfer from class means: the cheapest surrogate network, for a trust check."""

from __future__ import annotations

from dataclasses import replace

from harness.attacks.base import Objective, Task
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.victim import Victim
from harness.lazy import F, torch

STEPS = 10


def from_class_means(
    images: torch.Tensor, labels: torch.Tensor, task: Task, norm: str
) -> torch.Tensor:
    """Adversarial images of the nearest-class-mean classifier in pixel space, to be transferred.

    Its margin is climbed in 10 steps of a quarter of eps, untargeted (Papernot et al. 2017).

    Args:
        images: float32 (N, C, H, W), of which the means are taken.
        labels: int64 (N,).
        task: what is attacked; its labels are among ``labels``.
        norm: ``linf``, ``l2`` or ``l1``.

    Returns:
        float32 (B, C, H, W), like the task's images.
    """
    classes, members = labels.unique(return_inverse=True)
    one_hot = F.one_hot(members, len(classes)).to(images)
    means = (one_hot.T @ images.flatten(1)) / one_hot.sum(0)[:, None]
    bias = -(means**2).sum(1) / 2

    def nearest_mean(points: torch.Tensor) -> torch.Tensor:
        return points.flatten(1) @ means.T + bias

    surrogate = Victim(nearest_mean, max(1, len(task.images)))
    own_labels = torch.searchsorted(classes, task.labels)
    candidates = projected_ascent(
        surrogate,
        replace(task, labels=own_labels, objective=Objective("margin")),
        norm=norm,
        steps=STEPS,
        step_size=task.eps / 4,
        random_start=False,
        best=False,
    )
    return candidates.adversarial
