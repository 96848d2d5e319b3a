"""Gradient steps on plain tensors that keep exact zeros, one sign, or a pruning mask.

Every operation is elementwise, so a parameter may have a leading episode axis: each episode then
takes exactly the steps that it would take alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

from harness.lazy import torch

BETA1 = 0.9
BETA2 = 0.999
EPSILON = 1e-8
MOMENTUM = 0.9

OptimiserName = Literal["adam", "sgd"]


class ProximalOptimiser:
    """Proximal Adam (Kingma & Ba 2015) or SGD with momentum; changes its parameters in place.

    The L1 penalty is not part of the gradient. After each step, weights are soft-thresholded
    (ISTA) in the optimiser's own metric (Yun, Lozano & Yang, "Adaptive proximal gradient methods
    for structured neural networks", NeurIPS 2021):

    - SGD: the threshold is ``lr * l1 / (1 - momentum)``;
    - Adam: the threshold is ``lr * l1 / (sqrt(v) + eps)``.

    Both therefore minimise ``loss + l1 * sum |w|``, and zeros are exact. Biases are neither
    penalised, decayed nor clamped.

    Args:
        parameters: Weights and biases in turn; changed in place.
        optimiser: ``"adam"`` or ``"sgd"``.
        lr: Learning rate.
        l1: Factor of the penalty ``sum |w|``.
        weight_decay: Decoupled decay, ``w -= lr * weight_decay * w`` in each step.
        non_negative: Whether weights are clamped at zero after each step.
        weights: Which parameters are weights, if they do not alternate with biases.
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
    ) -> None:
        self.parameters = list(parameters)
        self.optimiser = optimiser
        self.lr = lr
        self.l1 = l1
        self.weight_decay = weight_decay
        self.non_negative = non_negative
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = self.first
        if optimiser == "adam":
            self.second = [torch.zeros_like(p) for p in self.parameters]
        if weights is None:
            weights = [i % 2 == 0 for i in range(len(self.parameters))]
        self.weights = list(weights)
        self.masks: dict[int, torch.Tensor] = {}
        self.steps = 0

    def prune(self, density: float) -> None:
        """Keep the largest weights and set the others to zero, now and in all later steps.

        Args:
            density: Share of each weight tensor that is kept, rounded to the nearest synapse and at
                least one.
        """
        for i, p in enumerate(self.parameters):
            if not self.weights[i]:
                continue
            with torch.no_grad():
                kept = p.abs().flatten().topk(max(1, round(density * p.numel()))).indices
                mask = torch.zeros(p.numel(), device=p.device).index_fill_(0, kept, 1.0)
                self.masks[i] = mask.view(p.shape)
                p.mul_(self.masks[i])

    def step(self, gradients: Sequence[torch.Tensor], rate: float = 1.0) -> None:
        """Take one step.

        Args:
            gradients: One for each parameter.
            rate: Factor on the learning rate.
        """
        self.steps += 1
        with torch.no_grad():
            for i, (p, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
                is_weight = self.weights[i]
                if is_weight and self.weight_decay:
                    p.mul_(1 - rate * self.lr * self.weight_decay)
                metric = self._move(i, p, gradient, rate)
                if is_weight and self.l1:
                    # A number for SGD; ``clamp`` takes both.
                    threshold = cast("torch.Tensor", rate * self.lr * self.l1 / metric)
                    p.sub_(torch.clamp(p, -threshold, threshold))
                if is_weight and self.non_negative:
                    p.clamp_(min=0)
                if i in self.masks:
                    p.mul_(self.masks[i])

    def _move(
        self, i: int, p: torch.Tensor, gradient: torch.Tensor, rate: float
    ) -> torch.Tensor | float:
        """Move ``p`` and return the diagonal metric in which the step was measured."""
        if self.optimiser == "sgd":
            velocity = self.first[i].mul_(MOMENTUM).add_(gradient)
            p.sub_(velocity, alpha=rate * self.lr)
            return 1 - MOMENTUM  # a constant gradient g moves p by lr * g / (1 - momentum)
        first = self.first[i]  # m
        second = self.second[i]  # v
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        # sqrt(v) + eps, with the bias corrections of both moments
        metric = second.sqrt().mul_(1 / math.sqrt(1 - BETA2**self.steps)).add_(EPSILON)
        p.addcdiv_(first, metric, value=-rate * self.lr / (1 - BETA1**self.steps))
        return metric
