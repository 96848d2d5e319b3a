"""Gradient steps on plain tensors, with the two constraints that the controls need: exact zeros and one sign.

Every operation is elementwise, so a parameter may carry a leading episode axis: each episode then takes exactly the
steps it would take alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

BETAS, EPSILON, MOMENTUM = (0.9, 0.999), 1e-8, 0.9

OptimiserName = Literal["adam", "sgd"]


class Descent:
    """Proximal Adam (Kingma & Ba 2015) or SGD with momentum, in place, on ``[weight, bias, weight, bias, ...]``.

    The L1 penalty is no part of the gradient. After each step it is a soft threshold of the weights (ISTA), measured in
    the optimiser's own metric: ``lr * l1 / (1 - momentum)`` for SGD, ``lr * l1 / (sqrt(v) + eps)`` for Adam (Yun, Lozano & Yang,
    "Adaptive proximal gradient methods for structured neural networks", NeurIPS 2021). Both therefore minimise
    ``loss + l1 * sum |w|``, and zeros are exact. Biases are neither penalised, decayed nor clamped.

    Args:
        parameters: weights and biases in turn; changed in place.
        optimiser: ``"adam"`` or ``"sgd"``.
        lr: step size.
        l1: weight of the penalty ``sum |w|``.
        weight_decay: decoupled decay, per step ``w -= lr * weight_decay * w``.
        non_negative: clamp weights at zero after each step.
        weights: which parameters are weights, where they do not take turns with biases.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        *,
        optimiser: OptimiserName,
        lr: float,
        l1: float = 0.0,
        weight_decay: float = 0.0,
        non_negative: bool = False,
        weights: Sequence[bool] | None = None,
    ):
        self.parameters, self.optimiser, self.lr = list(parameters), optimiser, lr
        self.l1, self.weight_decay, self.non_negative = l1, weight_decay, non_negative
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = (
            [torch.zeros_like(p) for p in self.parameters] if optimiser == "adam" else self.first
        )
        self.weights = (
            [i % 2 == 0 for i in range(len(self.parameters))] if weights is None else list(weights)
        )
        self.masks: dict[int, torch.Tensor] = {}
        self.steps = 0

    @torch.no_grad()
    def prune(self, density: float) -> None:
        """Keep the share ``density`` of each weight tensor that is largest in magnitude (to the nearest synapse, at least
        one), now and in all steps to come.
        """
        for i, p in enumerate(self.parameters):
            if self.weights[i]:
                keep = p.abs().flatten().topk(max(1, round(density * p.numel()))).indices
                self.masks[i] = (
                    torch.zeros(p.numel(), device=p.device).index_fill_(0, keep, 1.0).view(p.shape)
                )
                p.mul_(self.masks[i])

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], rate: float = 1.0) -> None:
        """One step along ``gradients`` (one per parameter), of ``rate`` times the learning rate."""
        self.steps += 1
        for i, (p, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            is_weight = self.weights[i]
            if is_weight and self.weight_decay:
                p.mul_(1 - rate * self.lr * self.weight_decay)
            metric = self._move(i, p, gradient, rate)
            if is_weight and self.l1:
                threshold = rate * self.lr * self.l1 / metric
                p.sub_(torch.clamp(p, -threshold, threshold))
            if is_weight and self.non_negative:
                p.clamp_(min=0)
            if i in self.masks:
                p.mul_(self.masks[i])

    def _move(
        self, i: int, p: torch.Tensor, gradient: torch.Tensor, rate: float
    ) -> torch.Tensor | float:
        """Move ``p`` and return the diagonal metric that the step was measured in."""
        if self.optimiser == "sgd":
            p.sub_(self.first[i].mul_(MOMENTUM).add_(gradient), alpha=rate * self.lr)
            return 1 - MOMENTUM  # a steady gradient g moves p by lr * g / (1 - momentum)
        first, second = self.first[i], self.second[i]
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        metric = second.sqrt().mul_(1 / math.sqrt(1 - BETAS[1] ** self.steps)).add_(EPSILON)
        p.addcdiv_(first, metric, value=-rate * self.lr / (1 - BETAS[0] ** self.steps))
        return metric
