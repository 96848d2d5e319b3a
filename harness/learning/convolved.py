"""Networks of 3x3 convolutions, each pooled by 2, and then dense layers: shapes and synapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.lazy import torch
from harness.learning.learner import Synapses
from harness.learning.perceptron import bundle_names
from harness.learning.supervised import Tensors

KERNEL = 3
"""Side of a filter."""


@dataclass(frozen=True)
class LayerShape:
    """The tensors of a layer.

    Attributes:
        weight: (out, in, 3, 3) of a convolution, or (in, out).
        bias: (out,) of a convolution, or (1, out).
        fan_in: Weights that a unit reads.
    """

    weight: tuple[int, ...]
    bias: tuple[int, ...]
    fan_in: int


def layer_shapes(
    image_shape: tuple[int, int, int],
    channels: Sequence[int],
    hidden: Sequence[int],
    n_out: int,
) -> list[LayerShape]:
    """The layers from the image to the output.

    >>> [layer.weight for layer in layer_shapes((1, 8, 8), [4], [20], 10)]
    [(4, 1, 3, 3), (64, 20), (20, 10)]

    Args:
        image_shape: (C, H, W).
        channels: Filters of each convolution.
        hidden: Units of each dense layer but the last.
        n_out: Units of the output.

    Raises:
        HarnessError: The image is too small for the pooling.
    """
    shapes = []
    depth, height, width = image_shape
    for filters in channels:
        weight = (filters, depth, KERNEL, KERNEL)
        shapes.append(LayerShape(weight, (filters,), KERNEL**2 * depth))
        depth = filters
        height //= 2
        width //= 2
    if min(height, width) < 1:
        raise HarnessError(
            f"images of {image_shape[1]}x{image_shape[2]} pixels are too small for "
            f"{len(channels)} convolutions with pooling",
            hint="give fewer channels",
        )
    sizes = [depth * height * width, *hidden, n_out]
    for n_in, units in zip(sizes[:-1], sizes[1:], strict=True):
        shapes.append(LayerShape((n_in, units), (1, units), n_in))
    return shapes


def synapses_of(tensors: Tensors, *, presynaptic_sign: bool = True) -> list[Synapses]:
    """One bundle per layer, from tensors ``weight0``, ``weight1``, ...

    The weights of a filter, (channels * 9, filters), act at every place: its rows are no neurons.
    """
    count = sum(name.startswith("weight") for name in tensors)
    weights = [tensors[f"weight{i}"] for i in range(count)]
    bundles = []
    for name, weight in zip(bundle_names(len(weights)), weights, strict=True):
        matrix: torch.Tensor = weight.flatten(1).T if weight.ndim == 4 else weight
        own = presynaptic_sign and weight.ndim == 2
        bundles.append(Synapses(name, matrix, presynaptic_sign=own))
    return bundles
