"""Requirements that a learner's classifier must meet to be measured; otherwise the cell fails."""

from __future__ import annotations

from typing import Any

from harness.fronts.learner import untrained
from harness.lazy import nn, torch
from harness.learning.learner import Learner


def classifier_of(learner: Learner) -> nn.Module:
    """The classifier of a trained learner; every protocol gets it from here.

    Raises:
        ValueError: some part of it is in train mode.
    """
    model = learner.classifier()
    require_eval_mode(model, learner, "classifier()")
    return model


def rebuilt(learner: Learner) -> Learner:
    """A learner with the same state that has never been asked anything."""
    other = untrained(learner)
    other.load_state_dict({name: value.clone() for name, value in learner.state_dict().items()})
    other.fitted = learner.fitted
    return other.to(learner.device)


def require_eval_mode(model: Any, learner: Learner, given_by: str) -> None:
    """Require that no part of a module is in train mode.

    In train mode, dropout and batch normalisation would change what is measured.

    Args:
        model: the classifier; one that is not a module has no mode.
        learner: whose classifier it is.
        given_by: the learner's method that returned it, for the message.

    Raises:
        ValueError: some part is in train mode.
    """
    if not isinstance(model, nn.Module):
        return
    for part in model.modules():
        if part.training:
            raise ValueError(
                f"{learner.kind}: {given_by} gave a module in train mode "
                f"({type(part).__name__} is); call .eval() on it"
            )


def require_logits(logits: torch.Tensor, shape: tuple[int, ...], learner: Learner) -> None:
    """Require one finite logit for each image and class, so that the largest is well defined.

    Args:
        logits: the classifier's output.
        shape: expected shape, images first and classes last.
        learner: whose classifier it is.

    Raises:
        ValueError: wrong shape, or not floating-point numbers.
        FloatingPointError: some logits are NaN or infinite.
    """
    if tuple(logits.shape) != shape or not logits.is_floating_point():
        raise ValueError(
            f"{learner.kind}: logits must be floats of shape {shape}, "
            f"got {logits.dtype} of {tuple(logits.shape)}"
        )
    bad = int((~logits.isfinite()).sum())
    if bad:
        raise FloatingPointError(
            f"{learner.kind}: {bad} of {logits.numel()} logits are NaN or infinite"
        )
