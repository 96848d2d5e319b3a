"""Losses that attacks climb: the higher, the nearer to a mistake or to the target class.

Each takes logits (B, n), labels (B,) and targets (B,) or None (any wrong class), and gives (B,).
"""

from __future__ import annotations

from harness.lazy import F, torch


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy (Goodfellow et al. 2015); its negative, towards a target.

    Its gradient is exactly zero in float32 where the margin exceeds about 100.
    """
    if targets is None:
        return F.cross_entropy(logits, labels, reduction="none")
    return -F.cross_entropy(logits, targets, reduction="none")


def margin(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Best wrong logit (or the target's) minus the right one (Carlini & Wagner 2017, f6).

    >>> import torch
    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), None)
    tensor([-1.])
    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), torch.tensor([1]))
    tensor([-2.])
    """
    right = logits.gather(1, labels[:, None]).squeeze(1)
    if targets is None:
        return logits.scatter(1, labels[:, None], float("-inf")).amax(1) - right
    return logits.gather(1, targets[:, None]).squeeze(1) - right


def probability_margin(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """The margin of the softmax's probabilities (PMA, Xie et al. 2024), within [-1, 1].

    Its gradient vanishes where the network is sure, as that of cross-entropy does; near the
    boundary it follows the nearest class, as the margin does.

    >>> import torch
    >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    >>> probability_margin(logits, torch.tensor([0]), None)
    tensor([-0.2000])
    >>> probability_margin(logits, torch.tensor([0]), torch.tensor([2]))
    tensor([-0.3000])
    """
    return margin(logits.softmax(1), labels, targets)


def standardised_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy of each row's logits after they are standardised.

    Mean and deviation count as constants. A network is attacked like the same network with rescaled
    logits.
    """
    fixed = logits.detach()
    smallest = torch.finfo(logits.dtype).tiny
    spread = fixed.std(1, correction=0, keepdim=True).clamp_min(smallest)
    return cross_entropy((logits - fixed.mean(1, keepdim=True)) / spread, labels, targets)


def logit_ratio(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None
) -> torch.Tensor:
    """Difference of logits ratio (Croce & Hein 2020, eqs. 6 and 7), blind to scale and shift.

    The margin divided by the largest logit minus the third; towards a target, minus the mean of the
    third and the fourth.
    """
    largest = logits.topk(3 if targets is None else 4, dim=1).values
    below = largest[:, 2] if targets is None else largest[:, 2:].mean(1)
    smallest = torch.finfo(logits.dtype).tiny
    return margin(logits, labels, targets) / (largest[:, 0] - below).clamp_min(smallest)


LOSSES = {
    "ce": cross_entropy,
    "margin": margin,
    "probability-margin": probability_margin,
    "ce-norm": standardised_cross_entropy,
    "dlr": logit_ratio,
}
"""Name in a suite -> loss."""

MIN_CLASSES = {"dlr": (3, 4)}
"""Loss -> the classes that it needs: untargeted, towards a target. All others need 2."""
