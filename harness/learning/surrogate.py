"""Surrogate gradients: the backward pass of another function (BPDA, Athalye et al. 2018, 4.1).

A learner whose network rounds, or compares, can declare one with ``surrogate(hard, soft)``.
Networks that declare none are given one by ``harness.attacks.engine.straight_through``. This file
imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def surrogate(hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """The exact value of ``hard`` with the gradient of ``soft``, two functions of the same input.

    >>> x = torch.tensor([0.3], requires_grad=True)
    >>> surrogate(x.round(), x).backward()
    >>> x.grad
    tensor([1.])
    """
    return SurrogateGradient.apply(hard.detach(), soft, None)


class SurrogateGradient(torch.autograd.Function):
    """The forward pass of one tensor and the backward pass of another.

    A third argument, if not None, is called with the gradient that arrives.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hard: torch.Tensor,
        soft: torch.Tensor,
        on_gradient: Callable[[torch.Tensor], None] | None,
    ) -> torch.Tensor:
        """The value of ``hard``."""
        ctx.on_gradient = on_gradient
        return hard.to(soft.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        """The gradient of ``soft``."""
        if ctx.on_gradient is not None:
            ctx.on_gradient(gradient)
        return None, gradient, None
