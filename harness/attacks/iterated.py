"""What PGD, APGD and transfer share: several losses, restarts, and targeted runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from harness.attacks.base import Attack, Fault, Objective
from harness.attacks.config import IteratedConfig


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
        if not self.config.targets:
            return losses
        return f"{losses}, and targeted at {self.config.targets} runner-up classes"

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
