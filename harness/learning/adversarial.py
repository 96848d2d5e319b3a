"""Adversarial examples to train on."""

from __future__ import annotations

from collections.abc import Callable

from harness.lazy import F, torch


def pgd_examples(
    classify: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    eps: float,
    steps: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Examples by PGD from a random start (Madry et al. 2018, eq. 2.1).

    Args:
        classify: Images (B, C, H, W) to logits.
        x: Images.
        y: Labels (B,).
        eps: Linf budget.
        steps: Each 2.5 / steps of the budget; a single one 1.25 times the budget.
        generator: Draws the start.
    """
    size = 1.25 if steps == 1 else 2.5 / steps
    low = (x - eps).clamp_(min=0)
    high = (x + eps).clamp_(max=1)
    noise = torch.rand(x.shape, generator=generator).to(x.device)
    point = torch.minimum(torch.maximum(x + eps * (2 * noise - 1), low), high)
    for _ in range(steps):
        with torch.enable_grad():
            point = point.detach().requires_grad_()
            loss = F.cross_entropy(classify(point), y)
            (gradient,) = torch.autograd.grad(loss, point)
        moved = point.detach() + size * eps * gradient.sign()
        point = torch.minimum(torch.maximum(moved, low), high)
    return point
