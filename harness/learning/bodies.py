"""Bodies that are trained by gradient descent and then frozen: images (B, C, H, W) to embeddings (B, D)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from harness.batching import ROWS
from harness.learning.nets import Perceptron, frozen, init_perceptron, perceptron

BackboneName = Literal["conv4", "mlp"]

BLOCKS = 4
GROUPS = 8
"""Groups of a group normalisation, at most (Wu & He 2018 use 32 on wider layers)."""

NEVER = -1e9
"""Logit of a class that is there only to fill up."""


def backbone(
    name: BackboneName,
    image_shape: tuple[int, int, int],
    width: int,
    generator: torch.Generator,
    *,
    norm: Literal["batch", "group"] = "batch",
    pools: int = BLOCKS,
) -> Conv4 | Dense:
    """A fresh body; ``norm`` and ``pools`` concern ``conv4`` only."""
    if name == "mlp":
        return Dense(math.prod(image_shape), width, generator)
    return Conv4(image_shape[0], width, generator, norm=norm, pools=pools)


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, normalisation, 2x2 max pooling, ReLU (Vinyals et al. 2016, Snell et al. 2017).

    28x28 images give ``width`` values. Images too small for four poolings (8x8, say) skip the last ones.

    Args:
        channels: of the images.
        width: filters in each block.
        generator: of the initial weights.
        norm: ``"batch"``: running statistics in eval mode. ``"group"``: each image alone, in both modes (see ``Grouped``).
        pools: blocks that pool, the first ones.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        generator: torch.Generator,
        *,
        norm: Literal["batch", "group"] = "batch",
        pools: int = BLOCKS,
    ):
        super().__init__()
        self.pools = pools
        shapes = [(width, channels if i == 0 else width, 3, 3) for i in range(BLOCKS)]
        self.weights = nn.ParameterList(
            channels_last(
                torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
            )
            for shape in shapes
        )
        groups = math.gcd(GROUPS, width)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width) if norm == "batch" else Grouped(groups, width)
            for _ in range(BLOCKS)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.contiguous(memory_format=torch.channels_last)
        for i, (weight, norm) in enumerate(zip(self.weights, self.norms, strict=True)):
            x = pooled(norm(F.conv2d(x, weight, padding=1)), i < self.pools)
        return x.flatten(1)

    def connections(self) -> dict[str, torch.Tensor]:
        """Name -> weight (inputs of one position, filters)."""
        return {
            f"conv{i + 1}": weight.detach().flatten(1).T for i, weight in enumerate(self.weights)
        }

    def folded(self) -> FoldedConv4:
        """The same function in eval mode, batch normalisation folded into the convolutions."""
        return FoldedConv4(self)


class Grouped(nn.GroupNorm):
    """Group normalisation that only scales and shifts where maps are one pixel.

    A group is then a handful of values, which normalised say little or nothing: one value is 0 whatever the image, two
    are +1 and -1.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2:].numel() > 1:
            return super().forward(x)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class FoldedConv4(nn.Module):
    """A frozen batch-normalised ``Conv4`` in eval mode: normalisation is part of the weights and biases."""

    def __init__(self, body: Conv4):
        super().__init__()
        self.pools = body.pools
        scales = [norm.weight * torch.rsqrt(norm.running_var + norm.eps) for norm in body.norms]
        self.weights = nn.ParameterList(
            frozen(channels_last(w * s[:, None, None, None]))
            for w, s in zip(body.weights, scales, strict=True)
        )
        self.biases = nn.ParameterList(
            frozen(norm.bias - norm.running_mean * s)
            for norm, s in zip(body.norms, scales, strict=True)
        )
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.contiguous(memory_format=torch.channels_last)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = pooled(F.conv2d(x, weight, bias, padding=1), i < self.pools)
        return x.flatten(1)


def channels_last(weight: torch.Tensor) -> torch.Tensor:
    """A convolution's weights in the layout of its images.

    (``contiguous`` leaves the strides of weights with one input channel as they are; the convolution then takes them, and
    gives its output, in the other layout, which costs twice to three times the time.)
    """
    return weight.clone(memory_format=torch.channels_last)


def pooled(x: torch.Tensor, pool: bool = True) -> torch.Tensor:
    """Max pooling, where there is anything to pool, and ReLU (in this order: the same values on a quarter of the activations)."""
    return F.relu(F.max_pool2d(x, 2) if pool and min(x.shape[2:]) >= 2 else x)


class Dense(nn.Module):
    """Two ReLU layers of ``width`` units on the flat image."""

    def __init__(self, pixels: int, width: int, generator: torch.Generator):
        super().__init__()
        self.layers = nn.ParameterList(init_perceptron([pixels, width, width], generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.relu(perceptron(images.flatten(1), list(self.layers)))

    def connections(self) -> dict[str, torch.Tensor]:
        """Name -> weight (pre, post)."""
        return {f"dense{i + 1}": self.layers[2 * i].detach() for i in range(len(self.layers) // 2)}

    def folded(self) -> Perceptron:
        """The same function, frozen."""
        return Perceptron(list(self.layers), activity=True)


class Headed(nn.Module):
    """A body and the linear classifier layer that ``widen`` gives it: its own parameters are the body's alone.

    Args:
        body: images to embeddings (B, D).
        image_shape: (C, H, W).
    """

    def __init__(self, body: nn.Module, image_shape: tuple[int, int, int]):
        super().__init__()
        self.body = body
        with torch.no_grad():
            self.width = body(torch.zeros(1, *image_shape)).shape[1]
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images) @ self.weight + self.bias


def widen(network: Headed, n_way: int) -> None:
    """Give a clone of a network n_way outputs, which begin at zero: all classes alike, as many as there are.

    Any column that all classes share would do the same: it shifts their logits together, which the softmax does not see,
    so neither a step nor the meta-gradient depends on it, and there is nothing in it to learn.
    """
    like = next(network.body.parameters())
    network.weight = nn.Parameter(like.new_zeros(network.width, n_way))
    network.bias = nn.Parameter(like.new_zeros(1, n_way))


def freeze(network: nn.Module) -> nn.Module:
    """``network`` in eval mode, its parameters (clones of a learn2learn module, say) cut from all graphs."""
    for module in network.modules():
        for name, value in module._parameters.items():
            module._parameters[name] = None if value is None else frozen(value)
    return network.eval()


def adapt_dense(
    network: Headed,
    images: torch.Tensor,
    labels: torch.Tensor,
    n_way: int,
    *,
    steps: int,
    rates: Sequence[torch.Tensor | float],
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Gradient steps of E perceptrons side by side, all from ``network``: what learn2learn's clones do one by one.

    Support images and classes are filled up to multiples of 16 with rows that have no target and classes that cannot
    win; neither has a gradient. So an episode's logits do not depend on which others are adapted beside it.

    Args:
        images: (E, S, C, H, W).
        labels: int64 (E, S) in [0, n_way).
        rates: step sizes of the head's weight and bias, then of the body's parameters: numbers, or tensors that broadcast.

    Returns:
        (E, Q, C, H, W) to logits (E, Q, n_way).
    """
    size, columns = images.shape[1], n_way + -n_way % ROWS
    x = _filled(images.flatten(2))
    targets = _filled(F.one_hot(labels, columns).to(x.dtype))
    weight, bias = x.new_zeros(network.width, columns), x.new_zeros(1, columns)
    bias[:, n_way:] = NEVER
    shared = [*network.body.layers, weight, bias]
    parameters = [p.detach().expand(len(x), *p.shape).clone() for p in shared]
    rates = [*rates[2:], *rates[:2]]
    for _ in range(steps):
        with torch.enable_grad():
            leaves = [p.requires_grad_() for p in parameters]
            loss = -(targets * F.log_softmax(perceptron(x, leaves), 2)).sum() / size
            gradients = torch.autograd.grad(loss, leaves)
        parameters = [
            p.detach() - rate * g for p, g, rate in zip(parameters, gradients, rates, strict=True)
        ]
    return lambda queries: perceptron(_filled(queries.flatten(2)), parameters)[
        :, : queries.shape[1], :n_way
    ]


def _filled(rows: torch.Tensor) -> torch.Tensor:
    """(E, R, D) with zero rows added until R is a multiple of 16."""
    return F.pad(rows, (0, 0, 0, -rows.shape[1] % ROWS))
