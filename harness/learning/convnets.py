"""Convolutional classifiers as plain functions of their tensors. Reached lazily: this file imports torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

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
    """The tensors of a network of convolution blocks and then dense layers.

    Weights are normal with He's variance, or uniform in [0, a] with the same variance.

    Args:
        image_shape: (C, H, W).
        filters: of each block.
        kernel: side of the filters, odd.
        dense: units of each dense layer, outputs last.
        generator: of the weights.
        normed: batch normalisation in each block.
        non_negative: weights of one sign.

    Returns:
        ``weight{i}`` (out, in, k, k) or (in, out) and ``bias{i}`` a layer; in a normalised block ``scale{i}``, ``mean{i}``
        and ``variance{i}`` too.
    """
    channels, height, width = image_shape
    tensors: dict[str, torch.Tensor] = {}

    def weight(*shape: int, fan_in: int) -> torch.Tensor:
        if non_negative:
            return torch.rand(shape, generator=generator) * math.sqrt(24 / fan_in)
        return torch.randn(shape, generator=generator) * math.sqrt(2 / fan_in)

    for i, out in enumerate(filters):
        tensors[f"weight{i}"] = weight(out, channels, kernel, kernel, fan_in=channels * kernel**2)
        tensors[f"bias{i}"] = torch.zeros(out)
        if normed:
            tensors |= {
                f"scale{i}": torch.ones(out),
                f"mean{i}": torch.zeros(out),
                f"variance{i}": torch.ones(out),
            }
        channels = out
        if min(height, width) >= 2:
            height, width = height // 2, width // 2
    n_in = channels * height * width
    for i, out in enumerate(dense, start=len(filters)):
        tensors |= {f"weight{i}": weight(n_in, out, fan_in=n_in), f"bias{i}": torch.zeros(1, out)}
        n_in = out
    return tensors


def convnet(
    x: torch.Tensor,
    tensors: dict[str, torch.Tensor],
    *,
    inhibited: bool = False,
    training: bool = False,
    activity: bool = False,
) -> torch.Tensor:
    """Blocks of convolution, batch normalisation where there is one, 2x2 max pooling and ReLU; then dense layers.

    Args:
        x: (B, C, H, W).
        tensors: as ``init_convnet`` makes them.
        inhibited: subtract at each place the mean input of its units, as a uniform inhibitory pool does.
        training: normalise by the batch, and update ``mean{i}`` and ``variance{i}``, in place; otherwise by these.
        activity: stop before the last layer.

    Returns:
        Logits (B, classes), or the activity (B, D) of the last hidden layer.
    """
    layers = sum(name.startswith("weight") for name in tensors)
    x = x.contiguous(memory_format=torch.channels_last)
    for i in range(layers):
        weight, bias = tensors[f"weight{i}"], tensors[f"bias{i}"]
        if weight.ndim == 2 and x.ndim == 4:
            x = x.flatten(1)
        if i == layers - 1 and activity:
            return x
        if inhibited:
            units = 0 if weight.ndim == 4 else 1
            weight, bias = weight - weight.mean(units, keepdim=True), bias - bias.mean()
        if weight.ndim == 4:
            x = _block(x, weight, bias, tensors, i, training)
        else:
            x = x @ weight + bias
            x = x if i == layers - 1 else F.relu(x)
    return x


def _block(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    tensors: dict[str, torch.Tensor],
    i: int,
    training: bool,
) -> torch.Tensor:
    """Convolution, normalisation, pooling, ReLU (pooling first: the same values on a quarter of the activations)."""
    weight, padding = weight.contiguous(memory_format=torch.channels_last), weight.shape[2] // 2
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
    return F.relu(F.max_pool2d(x, 2) if min(x.shape[2:]) >= 2 else x)


def folded(tensors: dict[str, torch.Tensor], *, inhibited: bool = False) -> dict[str, torch.Tensor]:
    """The tensors of the same function without pools and normalisation."""
    folded = {}
    for i in range(sum(name.startswith("weight") for name in tensors)):
        weight, bias = tensors[f"weight{i}"], tensors[f"bias{i}"]
        if inhibited:
            weight, bias = (
                weight - weight.mean(0 if weight.ndim == 4 else 1, keepdim=True),
                bias - bias.mean(),
            )
        if f"scale{i}" in tensors:
            scale = tensors[f"scale{i}"] * torch.rsqrt(tensors[f"variance{i}"] + NORM_EPSILON)
            weight, bias = weight * scale[:, None, None, None], bias - tensors[f"mean{i}"] * scale
        folded |= {f"weight{i}": weight, f"bias{i}": bias}
    return folded
