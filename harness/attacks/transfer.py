"""Transfer: perturbations found on a surrogate network, which the attacker has trained.

Papernot et al. 2016 (Transferability in machine learning). It needs no gradient of the victim, so
what it breaks shows that a gradient attack was misled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import Field

from harness.attacks.base import Candidates, Fault, Task
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.victim import Victim
from harness.attacks.pgd import PGD
from harness.lazy import nn
from harness.registry import attacks


@attacks.register("transfer")
class Transfer(PGD):
    """PGD on a surrogate network, trained on the same images as the victim (black box)."""

    class Config(PGD.Config):
        """Keys of transfer: those of PGD, and the surrogate."""

        surrogate: dict[str, Any] = Field(
            {"kind": "mlp", "hidden": 400, "epochs": 10},
            description="the learner whose network is attacked instead of the victim, "
            "e.g. {kind: mlp, hidden: 400}",
        )

    config: Config
    keeps_failures = True
    network: nn.Module | None = None

    @property
    def name(self) -> str:
        """With the kind of the surrogate."""
        return f"transfer-{self.config.surrogate.get('kind')}"

    @property
    def climbs(self) -> tuple[str, ...]:
        """No loss of the victim: a black-box attack."""
        return ()

    @property
    def surrogate(self) -> dict[str, Any]:
        """Kind and config of the learner whose network is attacked."""
        return self.config.surrogate

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find an order of targets that needs a gradient of the victim."""
        yield from super().faults(image_shape, n_classes)
        if self.config.target_order == "malt":
            message = "malt needs gradients of the victim, which transfer does not see"
            yield ("target_order",), message, "leave it out"

    def words(self) -> str:
        """Describe its settings."""
        keys = ", ".join(f"{key} {value}" for key, value in self.surrogate.items() if key != "kind")
        config = f" ({keys})" if keys else ""
        return f"{super().words()}, on a surrogate: {self.surrogate['kind']}{config}"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Climb the surrogate's loss, to the last iterate: its own mistakes do not count."""
        if self.network is None:
            raise RuntimeError("transfer: set the attribute `network` before the attack is run")
        candidates = projected_ascent(
            Victim(self.network, victim.batch_size),
            replace(task, start=None),
            norm=self.config.norm,
            steps=self.config.steps,
            step_size=self.relative_step * task.eps,
            random_start=self.config.random_start,
            best=False,
            momentum=self.config.momentum,
        )
        return Candidates(candidates.adversarial)

    def stronger(self) -> None:
        """None: more steps on a surrogate need not be stronger against the victim."""
