"""Check: the network keeps nothing of what it has classified."""

from __future__ import annotations

from typing import Any

from harness.attacks.engine.network_state import NetworkState
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.lazy import torch
from harness.registry import checks

PROBES = 16
"""Images in each of the passes, which no two passes share."""


@checks.register("keeps no state")
class KeepsNoState(Check):
    """Nothing in the network grows or changes from one forward pass to the next.

    What only the first pass changes was built on first use, and is no memory.
    """

    order = 14

    def judge(self, context: CheckContext) -> Judgement:
        """Warn of state that changes; what it does to verdicts is for "same on a fresh copy"."""
        victim = context.fresh_victim()
        states = []
        for number in range(3):
            victim.logits(_unseen(context, number))
            states.append(_state(victim.model))
        _, before, after = states
        changing = [name for name in after if before.get(name) != after[name]]
        if not changing:
            return "PASS", "nothing changes from pass to pass"
        names = ", ".join(changing)
        if context.plastic:
            return "WARN", f"declared plastic; each pass changes {names}"
        return "WARN", f"each pass changes {names}: answers may depend on what was asked before"


def _unseen(context: CheckContext, number: int) -> torch.Tensor:
    """Images that the network has never met: random mixtures of the images, and noise."""
    generator = context.rng.numpy("trust", "unseen", number)
    shape = (PROBES, *context.images.shape[1:])
    noise = torch.from_numpy(generator.random(shape)).to(context.images)
    rows = context.index(generator.integers(0, len(context.images), PROBES))
    mixed = (context.images[rows].flip(-1) + noise) / 2
    return torch.cat([mixed, noise])


def _state(model: Any) -> dict[str, object]:
    from harness.attacks.engine.hidden_state import hidden_state  # imports torch

    weights = NetworkState.of(model).parts["weights and buffers"]
    return {**hidden_state(model), "weights or buffers": weights}
