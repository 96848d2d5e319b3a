"""Losses that an attack climbs, one value a row; a higher loss is nearer to a mistake (or to the target class)."""

from __future__ import annotations

from harness.lazy import F, torch


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy (Goodfellow et al. 2015); towards a target: its negative. (B, n), (B,) -> (B,).

    Its gradient is exactly zero in float32 where the margin exceeds about 100.
    """
    if targets is None:
        return F.cross_entropy(logits, labels, reduction="none")
    return -F.cross_entropy(logits, targets, reduction="none")


def margin(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Best wrong logit (or the target's) minus the right one (Carlini & Wagner 2017, f6). (B, n), (B,) -> (B,)."""
    right = logits.gather(1, labels[:, None]).squeeze(1)
    if targets is None:
        return logits.scatter(1, labels[:, None], float("-inf")).amax(1) - right
    return logits.gather(1, targets[:, None]).squeeze(1) - right


def standardised_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy of each row's logits divided by their standard deviation, which counts as a constant.

    So a network and the same network with rescaled logits are attacked alike. (B, n), (B,) -> (B,).
    """
    fixed = logits.detach()
    spread = fixed.std(1, correction=0, keepdim=True).clamp_min(torch.finfo(logits.dtype).tiny)
    return cross_entropy((logits - fixed.mean(1, keepdim=True)) / spread, labels, targets)


def logit_ratio(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Difference of logits ratio (Croce & Hein 2020, eqs. 6 and 7), which sees neither scale nor shift. (B, n), (B,) -> (B,).

    The margin over what lies between the largest logit and the third; towards a target, the mean of third and fourth.
    """
    largest = logits.topk(3 if targets is None else 4, dim=1).values
    below = largest[:, 2] if targets is None else largest[:, 2:].mean(1)
    return margin(logits, labels, targets) / (largest[:, 0] - below).clamp_min(
        torch.finfo(logits.dtype).tiny
    )


LOSSES = {
    "ce": cross_entropy,
    "margin": margin,
    "ce-norm": standardised_cross_entropy,
    "dlr": logit_ratio,
}

LEAST_CLASSES = {"dlr": (3, 4)}
"""Loss -> the classes that it needs: untargeted, towards a target."""
