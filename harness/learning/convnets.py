"""How does a convolutional classifier compute, as a function of a dict of tensors?

It is reached lazily by the ``cnn`` baseline. ``bodies`` has the modules that few-shot learners use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from harness.learning.bodies import pooled
from harness.learning.nets import he_weights

NORM_EPSILON = 1e-5


def init_convnet(
    image_shape: tuple[int, int, int],
    filters: Sequence[int],
    kernel: int,
    dense: Sequence[int],
    generator: torch.Generator,
    *,
    normed: bool,
    non_negative: bool = False,
) -> dict[str, torch.Tensor]:
    """Initial tensors of a network of convolution blocks followed by dense layers.

    Weights are drawn by ``he_weights``.

    Args:
        image_shape: (C, H, W).
        filters: Filters of each block.
        kernel: Side of the filters; odd.
        dense: Units of each dense layer, outputs last.
        generator: Draws the weights.
        normed: Whether each block has batch normalisation.
        non_negative: Whether weights are of one sign.

    Returns:
        ``weight{i}`` (out, in, k, k) or (in, out), and ``bias{i}``, for each layer. A normalised
        block also has ``scale{i}``, ``mean{i}`` and ``variance{i}``.
    """
    channels, height, width = image_shape
    tensors: dict[str, torch.Tensor] = {}

    def weight(*shape: int, fan_in: int) -> torch.Tensor:
        return he_weights(*shape, fan_in=fan_in, generator=generator, non_negative=non_negative)

    for i, out in enumerate(filters):
        tensors[f"weight{i}"] = weight(out, channels, kernel, kernel, fan_in=channels * kernel**2)
        tensors[f"bias{i}"] = torch.zeros(out)
        if normed:
            tensors[f"scale{i}"] = torch.ones(out)
            tensors[f"mean{i}"] = torch.zeros(out)
            tensors[f"variance{i}"] = torch.ones(out)
        channels = out
        if min(height, width) >= 2:
            height //= 2
            width //= 2
    n_in = channels * height * width
    for i, out in enumerate(dense, start=len(filters)):
        tensors[f"weight{i}"] = weight(n_in, out, fan_in=n_in)
        tensors[f"bias{i}"] = torch.zeros(1, out)
        n_in = out
    return tensors


def n_layers(tensors: dict[str, torch.Tensor]) -> int:
    """Number of layers of a network with the tensors ``weight0``, ``weight1``, ..."""
    return sum(name.startswith("weight") for name in tensors)


def convnet(
    x: torch.Tensor,
    tensors: dict[str, torch.Tensor],
    *,
    inhibited: bool = False,
    training: bool = False,
    activity: bool = False,
) -> torch.Tensor:
    """Blocks of convolution, normalisation, 2x2 max pooling and ReLU; then dense layers.

    Args:
        x: (B, C, H, W).
        tensors: As ``init_convnet`` returns them.
        inhibited: Subtract at each place the mean input of its units, as a uniform inhibitory pool
            does.
        training: Normalise by the batch and update ``mean{i}`` and ``variance{i}`` in place;
            otherwise normalise by these.
        activity: Stop before the last layer.

    Returns:
        Logits (B, classes), or the activity (B, D) of the last hidden layer.
    """
    layers = n_layers(tensors)
    x = x.contiguous(memory_format=torch.channels_last)
    for i in range(layers):
        weight = tensors[f"weight{i}"]
        bias = tensors[f"bias{i}"]
        if weight.ndim == 2 and x.ndim == 4:
            x = x.flatten(1)
        if i == layers - 1 and activity:
            return x
        if inhibited:
            weight, bias = _with_pool(weight, bias)
        if weight.ndim == 4:
            x = _block(x, weight, bias, tensors, i, training)
        else:
            x = x @ weight + bias
            if i != layers - 1:
                x = F.relu(x)
    return x


def _with_pool(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold a layer's uniform inhibitory pool, its mean input, into weights and biases."""
    unit_axis = 0 if weight.ndim == 4 else 1
    return weight - weight.mean(unit_axis, keepdim=True), bias - bias.mean()


def _block(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    tensors: dict[str, torch.Tensor],
    i: int,
    training: bool,
) -> torch.Tensor:
    """Convolution, normalisation if there is one, pooling and ReLU."""
    weight = weight.contiguous(memory_format=torch.channels_last)
    padding = weight.shape[2] // 2
    if f"scale{i}" in tensors:
        x = F.conv2d(x, weight, padding=padding)
        x = F.batch_norm(
            x,
            tensors[f"mean{i}"],
            tensors[f"variance{i}"],
            tensors[f"scale{i}"],
            bias,
            training,
            eps=NORM_EPSILON,
        )
    else:
        x = F.conv2d(x, weight, bias, padding=padding)
    return pooled(x)


def folded(tensors: dict[str, torch.Tensor], *, inhibited: bool = False) -> dict[str, torch.Tensor]:
    """Tensors of the same function without inhibitory pools and normalisation."""
    result = {}
    for i in range(n_layers(tensors)):
        weight = tensors[f"weight{i}"]
        bias = tensors[f"bias{i}"]
        if inhibited:
            weight, bias = _with_pool(weight, bias)
        if f"scale{i}" in tensors:
            scale = tensors[f"scale{i}"] * torch.rsqrt(tensors[f"variance{i}"] + NORM_EPSILON)
            weight = weight * scale[:, None, None, None]
            bias = bias - tensors[f"mean{i}"] * scale
        result[f"weight{i}"] = weight
        result[f"bias{i}"] = bias
    return result
