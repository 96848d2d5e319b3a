"""The network under attack, seen as three functions; and the network left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.batching import in_batches, padded
from harness.lazy import nn, torch

LossFunction = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]
"""Logits (B, n), labels (B,), targets (B,) or None, to one loss a row (B,), to be climbed."""


class Victim:
    """A classifier whose answers about a sample do not depend on its company: rows are padded (harness.batching).

    Args:
        model: images (B, C, H, W) in [0, 1] to logits (B, n_classes).
        batch_size: rows pushed through at once.
    """

    def __init__(self, model: nn.Module, batch_size: int = 256):
        self.model, self.batch_size = model, batch_size

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, n_classes), without gradient."""
        with torch.no_grad():
            return in_batches(self.model, images, batch_size=self.batch_size)

    def gradient(
        self, images: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None, loss: LossFunction
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the loss with respect to at most ``batch_size`` images, and the logits there.

        The loss is summed, not averaged: dividing by the batch size would make a gradient depend on the company, and
        push the smallest to zero. Where the network passes no gradient it is zero.
        """
        rows = len(images)
        inputs = padded(images).clone().requires_grad_()
        padded_targets = None if targets is None else padded(targets)
        with torch.enable_grad():
            logits = self.model(inputs)
            if not logits.requires_grad:
                return torch.zeros_like(images), logits[:rows]
            total = loss(logits, padded(labels), padded_targets).sum()
            (gradient,) = torch.autograd.grad(total, inputs, allow_unused=True)
        gradient = torch.zeros_like(inputs) if gradient is None else gradient
        return gradient[:rows], logits[:rows].detach()


def judge(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each row is classified as its label, and by what margin.

    Args:
        logits: (B, n_classes); a row that is not finite is not correct.
        labels: int64 (B,).

    Returns:
        bool (B,), and float32 (B,): right logit minus the best wrong one.
    """
    right = logits.gather(1, labels[:, None]).squeeze(1)
    best_wrong = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    finite = logits.isfinite().all(1)
    return (logits.argmax(1) == labels) & finite, (right - best_wrong).float()


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Parameters ask for no gradient inside; on the way out, also after an exception, every flag is what it was.

    Kept: the training flag of every module, ``requires_grad`` and ``grad`` of every parameter. Code inside may switch
    modes and call ``backward``: nothing of it stays.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _, _ in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, gradient in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
