"""Check: the attack has a gradient to climb."""

from __future__ import annotations

from harness.attacks.engine.losses import LOSSES
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import NO_GRADIENT
from harness.lazy import torch
from harness.registry import checks


@checks.register("gradients exist")
class GradientsExist(Check):
    """Some loss of the attack gives almost every sample a finite, non-zero input gradient."""

    order = 70

    def applies(self, context: CheckContext) -> bool:
        """If the attack climbs a loss."""
        return bool(context.attack.climbs)

    def judge(self, context: CheckContext) -> Judgement:
        """Judge the share of samples without a usable gradient."""
        rows = context.pick(context.result.clean, context.sample_size(10, 100), "gradients")
        if not len(rows):
            return "PASS", "no image is correct without an attack"
        at = context.index(rows)
        usable = torch.zeros(len(rows), dtype=torch.bool, device=at.device)
        of_losses = []
        for name in context.attack.climbs:
            has_gradient = _has_gradient(context, at, name)
            missing = 1 - float(has_gradient.float().mean())
            of_losses.append(f"{name} {100 * missing:.0f} %")
            usable |= has_gradient
        share = 1 - float(usable.float().mean())
        detail = f"{100 * share:.1f} % of {len(rows)} samples have none ({', '.join(of_losses)})"
        return NO_GRADIENT.level(share), detail


def _has_gradient(context: CheckContext, at: torch.Tensor, loss: str) -> torch.Tensor:
    """Which samples get a finite, non-zero gradient from one loss, bool (len(at),)."""
    images, labels = context.images[at], context.labels[at]
    gradient, _ = context.victim.gradient(images, labels, None, LOSSES[loss])
    flat = gradient.flatten(1)
    return flat.isfinite().all(1) & (flat != 0).any(1)
