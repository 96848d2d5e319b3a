"""A read-out of frozen features, linear or with a hidden layer, trained by gradient descent."""

from __future__ import annotations

from collections.abc import Callable

from harness.lazy import F, torch
from harness.learning.optimisers import ProximalOptimiser

BATCH = 64

Codes = Callable[["torch.Tensor"], "torch.Tensor"]
"""Rows (B,) of the training images to their features (B, D)."""


def train_readout(
    codes: Codes,
    labels: torch.Tensor,
    parameters: list[torch.Tensor],
    *,
    epochs: int,
    lr: float,
    dropout: float,
    order: torch.Generator,
    progress: Callable[[float], None],
) -> float:
    """Train a perceptron with GELU units on features, by Adam on the cross-entropy.

    Args:
        codes: Gives the features.
        labels: int64 (N,).
        parameters: Weights (in, out) and biases (1, out) in turn; changed in place.
        epochs: Passes over the features.
        lr: Falls linearly to zero.
        dropout: Share of features that a step leaves out.
        order: Shuffles, and seeds what dropout draws.
        progress: Called with the share that is over.

    Returns:
        Accuracy on the training images in the last epoch.
    """
    from harness.learning.nets import perceptron

    device = labels.device
    optimiser = ProximalOptimiser(parameters, optimiser="adam", lr=lr)
    masks = torch.Generator(device).manual_seed(int(torch.randint(2**31, (), generator=order)))
    correct = 0
    for epoch in range(epochs):
        correct = 0
        batches = torch.randperm(len(labels), generator=order).to(device).split(BATCH)
        for i, rows in enumerate(batches):
            x = codes(rows)
            if dropout:
                kept = torch.rand(x.shape, generator=masks, device=device) >= dropout
                x = x * kept / (1 - dropout)
            leaves = [p.detach().requires_grad_() for p in parameters]
            with torch.enable_grad():
                logits = perceptron(x, leaves, activation="gelu")
                loss = F.cross_entropy(logits, labels[rows])
                gradients = torch.autograd.grad(loss, leaves)
            optimiser.step(list(gradients), 1 - (epoch + i / len(batches)) / epochs)
            correct += int((logits.detach().argmax(1) == labels[rows]).sum())
        progress((epoch + 1) / epochs)
    return correct / len(labels)
