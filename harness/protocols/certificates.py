"""What is proven of attacked images, beside what attacks break: proven <= true <= attacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from harness.attacks.base import Attack
from harness.attacks.engine.decided import attacked_anyway, sweep_undecided
from harness.attacks.engine.sweep import Sweep, verdict_name
from harness.errors import ProofError
from harness.lazy import nn, torch
from harness.learning.learner import Progress, silent
from harness.metrics.statistics import wilson
from harness.records import Value
from harness.rng import Rng


@dataclass(frozen=True)
class Certificates:
    """Proofs for N images at the E budgets of an attack's grid.

    Attributes:
        eps: the grid.
        proven: bool (E, N): no attack within the budget changes the class, and it is right. All
            False where the network has no bound.
        margin: float32 (E, N), lower bound of the right logit minus the best wrong one; NaN where
            the network has no bound.
        method: how they were found; empty where the network has no bound.
        reason: what prevents a bound; empty if there is one.
    """

    eps: tuple[float, ...]
    proven: np.ndarray
    margin: np.ndarray
    method: str = ""
    reason: str = ""

    @classmethod
    def of(
        cls, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, attack: Attack
    ) -> Self:
        """Prove what can be proven of the images that an attack is about to be run on."""
        from harness.bounds.graph import NoBound
        from harness.bounds.prove import Prover

        grid = tuple(attack.config.eps)
        shape = (len(grid), len(images))
        try:
            prover = Prover.of(model, images)
        except NoBound as error:
            nothing = np.zeros(shape, bool)
            return cls(grid, nothing, np.full(shape, np.nan, np.float32), reason=error.reason)
        proofs = prover.prove_grid(images, labels, grid, attack.config.norm)
        proven = torch.stack([proof.proven for proof in proofs])
        margin = torch.stack([proof.margins.amin(1) for proof in proofs])
        return cls(grid, proven.cpu().numpy(), margin.float().cpu().numpy(), prover.method)

    def sweep(
        self,
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        identity: np.ndarray,
        attack: Attack,
        rng: Rng,
        *,
        batch_size: int = 256,
        progress: Progress = silent,
    ) -> Sweep:
        """Attack what is not proven, and a few of the proven samples; arguments as for ``sweep``.

        Raises:
            ProofError: a sample is proven robust and was broken.
        """
        tested = attacked_anyway(self.proven, identity, rng)
        result = sweep_undecided(
            model,
            images,
            labels,
            identity,
            attack,
            rng,
            self.proven & ~tested,
            batch_size=batch_size,
            progress=progress,
        )
        self.check(result, identity, attack)
        return result

    def check(self, result: Sweep, identity: np.ndarray, attack: Attack) -> None:
        """Compare proofs with what an attack broke.

        Raises:
            ProofError: a sample is proven robust and was broken.
        """
        both = self.proven & ~result.worst
        if not both.any():
            return
        place, row = np.argwhere(both)[0]
        raise refuted(
            f"image {int(identity[row])}",
            f"{attack.config.norm} eps {self.eps[place]:g} ({self.method})",
            attack.label,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Verdicts and margins by the names under which they are stored; none without a bound."""
        arrays = {}
        if not self.reason:
            for place, eps in enumerate(self.eps):
                arrays[verdict_name(eps, "certified")] = self.proven[place].astype(np.uint8)
                arrays[verdict_name(eps, "certified_margin")] = self.margin[place]
        return arrays

    def values(self) -> list[Value]:
        """The proven share at each budget with its Wilson interval; none without a bound."""
        if self.reason:
            return []
        values = []
        for place, eps in enumerate(self.eps):
            proven = self.proven[place]
            low, high = wilson(int(proven.sum()), len(proven))
            value = Value(
                "proven",
                float(proven.mean()),
                low,
                high,
                n=len(proven),
                unit="sample",
                setting={"eps": eps},
                verdicts=verdict_name(eps, "certified"),
            )
            values.append(value)
        return values

    @property
    def remark(self) -> str:
        """How bounds were found, or why there are none, for readers of the numbers."""
        return f"no bound: {self.reason}" if self.reason else f"proven by: {self.method}"


def refuted(sample: str, budget: str, attack: str) -> ProofError:
    """The error of a sample that is both proven and broken."""
    return ProofError(
        f"{sample} is proven robust at {budget}, and {attack} breaks it within that budget",
        hint="the bound or the attack is wrong, so no number of this suite is reliable; "
        "please report it with the suite",
    )
