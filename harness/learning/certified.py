"""Interval bounds of a network in training, for certified training (Gowal et al. 2018).

arXiv 1810.12715. Bounds are differentiable in the weights. The file imports torch, so it must be
imported lazily.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from harness.learning.bodies import pooled
from harness.learning.convnets import n_layers

Interval = tuple[torch.Tensor, torch.Tensor]
"""Lower and upper bounds, of one shape."""


def worst_logits(
    hidden: Interval, weight: torch.Tensor, bias: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The logits least favourable to the labels, up to a constant for each image.

    The last layer is folded into differences of logits, so that what two logits share cancels
    (section 3 of the paper).

    Args:
        hidden: Bounds of the last hidden layer, (B, D).
        weight: (D, classes).
        bias: (1, classes).
        labels: int64 (B,).

    Returns:
        (B, classes): upper bounds of each logit minus the label's, 0 at the label.
    """
    low, high = hidden
    differences = weight.T.unsqueeze(0) - weight.T[labels].unsqueeze(1)  # (B, classes, D)
    centre = torch.bmm(differences, ((low + high) / 2).unsqueeze(2)).squeeze(2)
    radius = torch.bmm(differences.abs(), ((high - low) / 2).unsqueeze(2)).squeeze(2)
    return centre + radius + bias - bias[0, labels].unsqueeze(1)


def perceptron_interval(images: Interval, parameters: Sequence[torch.Tensor]) -> Interval:
    """Bounds of the last hidden layer of a ReLU perceptron.

    Args:
        images: (B, D).
        parameters: Weights (in, out) and biases (1, out) of the hidden layers, in turn.
    """
    low, high = images
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        centre = (low + high) / 2 @ weight + bias
        radius = (high - low) / 2 @ weight.abs()
        low = F.relu(centre - radius)
        high = F.relu(centre + radius)
    return low, high


def convnet_interval(images: Interval, tensors: dict[str, torch.Tensor]) -> Interval:
    """Bounds of the last hidden layer of a convolutional network without normalisation.

    Args:
        images: (B, C, H, W).
        tensors: As ``harness.learning.convnets.folded`` returns them.
    """
    low, high = images
    layers = n_layers(tensors)
    blocks = sum(tensors[f"weight{i}"].ndim == 4 for i in range(layers))
    for i in range(blocks):
        weight = tensors[f"weight{i}"]
        padding = weight.shape[2] // 2
        centre = F.conv2d((low + high) / 2, weight, tensors[f"bias{i}"], padding=padding)
        radius = F.conv2d((high - low) / 2, weight.abs(), padding=padding)
        low = pooled(centre - radius)
        high = pooled(centre + radius)
    dense = [
        tensors[f"{kind}{i}"] for i in range(blocks, layers - 1) for kind in ("weight", "bias")
    ]
    return perceptron_interval((low.flatten(1), high.flatten(1)), dense)
