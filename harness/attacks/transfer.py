"""Transfer: perturbations found on another network, which the attacker has trained. A check on masked gradients.

Papernot et al. 2016 (Transferability in machine learning). What breaks the victim here was found without its gradient.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.attacks.base import Attempt, Trial
from harness.attacks.engine.ascent import ascend
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
            description="the learner whose "
            "network is attacked in the victim's place, e.g. {kind: mlp, hidden: 400}",
        )

    config: Config
    keeps_failures = True
    network: nn.Module | None = None

    @property
    def name(self) -> str:
        return f"transfer-{self.config.surrogate.get('kind')}"

    @property
    def climbs(self) -> tuple[str, ...]:
        return ()

    @property
    def surrogate(self) -> dict[str, Any]:
        return self.config.surrogate

    def words(self) -> str:
        keys = ", ".join(f"{key} {value}" for key, value in self.surrogate.items() if key != "kind")
        return f"{super().words()}, on a surrogate: {self.surrogate['kind']}{f' ({keys})' if keys else ''}"

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        """The last iterate: the surrogate's own mistakes are not what counts, so it does not stop at one."""
        if self.network is None:
            raise RuntimeError(
                "a transfer attack is given its surrogate's network before it is run"
            )
        cold = Trial(**{**vars(trial), "start": None})
        attempt = ascend(
            Victim(self.network, victim.batch_size),
            cold,
            norm=self.config.norm,
            steps=self.config.steps,
            step_size=self.relative_step * trial.eps,
            random_start=self.config.random_start,
            best=False,
            momentum=self.config.momentum,
        )
        return Attempt(attempt.adversarial)

    def stronger(self) -> None:
        """More steps on a surrogate need not be stronger against the victim."""
