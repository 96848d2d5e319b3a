"""What PGD, APGD and transfer share: several losses, restarts, and targeted runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from harness.attacks.base import Attack, Fault, Objective
from harness.attacks.config import IteratedConfig
from harness.attacks.engine.target_order import by_distance
from harness.attacks.engine.victim import Victim
from harness.lazy import torch


class Iterated(Attack):
    """An attack that takes ``config.steps`` gradient steps from several starts."""

    config: IteratedConfig

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Every loss untargeted, then every loss towards each runner-up class."""
        return tuple(
            Objective(loss, target)
            for target in range(self.config.targets + 1)
            for loss in self.config.loss
        )

    @property
    def restarts(self) -> int:
        """Random starts for each objective."""
        return self.config.restarts

    @property
    def loss_words(self) -> str:
        """The objectives in words."""
        losses = f"loss {' + '.join(self.config.loss)}"
        targets = self.config.targets
        if not targets:
            return losses
        chosen = f"{targets} runner-up classes"
        if self.config.target_order == "malt":
            chosen = f"the {targets} classes of nearest linear boundary (MALT)"
        return f"{losses}, and targeted at {chosen}"

    def target_order(
        self, victim: Victim, images: torch.Tensor, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """By clean logit, or by the distance of the linear boundary."""
        if self.config.target_order == "malt":
            return by_distance(victim, images, labels, logits, self.config.norm)
        return super().target_order(victim, images, labels, logits)

    def stronger(self) -> Self | None:
        """The same attack with twice the steps."""
        return type(self)(self.config.model_copy(update={"steps": 2 * self.config.steps}))

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find losses that need more classes, and more targets than there are wrong classes."""
        yield from super().faults(image_shape, n_classes)
        targets = self.config.targets
        if targets >= n_classes:
            message = f"{targets} runner-up classes of {n_classes} classes"
            yield ("targets",), message, f"at most {n_classes - 1}"
