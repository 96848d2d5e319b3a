"""What must hold of a learner's classifiers before their answers are counted; a cell fails where it does not."""

from __future__ import annotations

from typing import Any

from harness.lazy import nn, torch
from harness.learning.learner import Learner


def require_eval_mode(model: Any, learner: Learner, given_by: str) -> None:
    """A module that drops units or normalises over its batch would be measured in a state that nobody trained.

    Args:
        model: what the learner gave; anything that is no module has no mode.
        given_by: the learner's method that gave it, for the message.

    Raises:
        ValueError: some part of it is in train mode.
    """
    parts = (
        [part for part in model.modules() if part.training] if isinstance(model, nn.Module) else []
    )
    if parts:
        raise ValueError(
            f"{learner.kind}: {given_by} gave a module in train mode ({type(parts[0]).__name__} is); "
            f"call .eval() on it"
        )


def require_logits(logits: torch.Tensor, shape: tuple[int, ...], learner: Learner) -> None:
    """One finite number for each image and class: among others the largest is undefined, or is none of the classes'.

    Args:
        shape: images first, classes last.

    Raises:
        ValueError: another shape, or no floating-point numbers.
        FloatingPointError: some of them are NaN or infinite.
    """
    if tuple(logits.shape) != shape or not logits.is_floating_point():
        raise ValueError(
            f"{learner.kind}: logits must be floats of shape {shape}, got {logits.dtype} of {tuple(logits.shape)}"
        )
    bad = int((~logits.isfinite()).sum())
    if bad:
        raise FloatingPointError(
            f"{learner.kind}: {bad} of {logits.numel()} logits are NaN or infinite"
        )
