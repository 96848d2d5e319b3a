"""Adversarial images of other networks, for the survivors that checks attack again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.attacks.base import Objective, Task
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.class_means import from_class_means
from harness.attacks.engine.geometry import apply_delta, project
from harness.attacks.engine.victim import Victim
from harness.lazy import nn, torch

if TYPE_CHECKING:
    from harness.attacks.trust.context import CheckContext

CLASS_MEANS = "class means"

STEPS = 3
"""Of half of eps, along accumulated gradients: these transfer better, and need fewer steps."""

MOMENTUM = 1.0
"""Decay of the accumulated gradients (Dong et al. 2018, which transfers with 1.0)."""


@dataclass(frozen=True)
class Transfers:
    """What was made once, at one eps, and is cut or stretched to others.

    Attributes:
        rows: int (n,), the samples, in ascending order.
        images: float32 (n, C, H, W), clean.
        delta: source -> float32 (n, C, H, W), perturbations at ``eps``.
        norm: of the ball.
        eps: its radius.
    """

    rows: np.ndarray
    images: torch.Tensor
    delta: dict[str, torch.Tensor]
    norm: str
    eps: float

    @classmethod
    def of(cls, context: CheckContext) -> Transfers:
        """Transfer from class means and every relative, at the middle eps."""
        rows = np.unique(
            np.concatenate([context.tried_again(place) for place in context.two_places])
        )
        norm = context.attack.config.norm
        task = context.task(rows, context.middle_eps, Objective("margin"))
        moved = {}
        # With one class as the target there is one label, and one mean.
        if len(rows) and context.attack.config.target is None:
            moved[CLASS_MEANS] = from_class_means(context.images, context.labels, task, norm)
        if len(rows):
            moved |= {
                name: _of_relative(relative, task, norm)
                for name, relative in context.relatives.items()
            }
        delta = {name: points - task.images for name, points in moved.items()}
        return cls(rows, task.images, delta, norm, task.eps)

    def at(self, rows: np.ndarray, eps: float) -> dict[str, torch.Tensor]:
        """Source -> adversarial images of some of the rows in a ball of another radius."""
        places = torch.from_numpy(np.searchsorted(self.rows, rows)).to(self.images.device)
        images = self.images[places]
        points = {}
        for name, delta in self.delta.items():
            stretched = apply_delta(images, eps / self.eps * delta[places], self.norm)
            points[name] = project(stretched, images, self.norm, eps)
        return points


def _of_relative(relative: nn.Module, task: Task, norm: str) -> torch.Tensor:
    """Adversarial images of a relative, float32 like the task's images."""
    return projected_ascent(
        Victim(relative),
        task,
        norm=norm,
        steps=STEPS,
        step_size=task.eps / 2,
        random_start=False,
        best=False,
        momentum=MOMENTUM,
    ).adversarial
