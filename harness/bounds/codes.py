"""The parts of a network that reads a competitive code. This file imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from harness.bounds.affine import is_affine
from harness.bounds.graph import Graph
from harness.bounds.shaped import Normalised, Softmax


@dataclass(frozen=True)
class Competition:
    """The parts of such a network.

    Attributes:
        graph: the network.
        normalised: place of the normalised image.
        softmax: place of the code.
        weight: M, float64 (H, n).
        offset: constant part of a, (H,).
        readout: V + c, (H, classes): the bias is in every row, since the code sums to one.
    """

    graph: Graph
    normalised: int
    softmax: int
    weight: torch.Tensor
    offset: torch.Tensor
    readout: torch.Tensor

    @classmethod
    def of(cls, graph: Graph) -> Competition | None:
        """The parts of a network of this kind; None if it is of another kind."""
        places = [i for i, step in enumerate(graph.steps) if step.op and not is_affine(step.op)]
        if [type(graph.steps[i].op) for i in places] != [Normalised, Softmax]:
            return None
        normalised, softmax = places
        if not all(map(graph.flattens, range(1, normalised))):
            return None
        weight, offset = affine_between(graph, normalised, graph.steps[softmax].inputs[0])
        readout, bias = affine_between(graph, softmax, len(graph.steps) - 1)
        return cls(graph, normalised, softmax, weight, offset, readout.T + bias)

    def length(self, images: torch.Tensor) -> torch.Tensor:
        """Euclidean length of images, (B,)."""
        return torch.linalg.vector_norm(images.flatten(1), dim=1)

    @property
    def division(self) -> Normalised:
        """The division of the image by its length."""
        op = self.graph.op(self.normalised)
        assert isinstance(op, Normalised)
        return op

    def scale(self, length: torch.Tensor) -> torch.Tensor:
        """What an image of that length is multiplied by."""
        return self.division.scale(length)


def affine_between(graph: Graph, start: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
    """W and b of an affine part of a graph: the step at ``end`` is W z + b of that at ``start``.

    Returns:
        float64 (units at the end, units at the start), (units at the end,).
    """
    values: dict[int, torch.Tensor] = {}
    width = math.prod(graph.steps[start].shape)
    basis = torch.cat([torch.zeros(1, width), torch.eye(width)]).double()
    values[start] = basis.to(graph.device).unflatten(1, graph.steps[start].shape)
    for place in range(start + 1, end + 1):
        step = graph.steps[place]
        values[place] = graph.op(place).value(*(values[i] for i in step.inputs))
    out = values[end].flatten(1)
    return (out[1:] - out[0]).T.contiguous(), out[0]


@dataclass(frozen=True)
class Clean:
    """The network at the clean images.

    Attributes:
        parts: the network.
        images: x, (B, n).
        code: h, (B, H).
        common: sum_j h_j M_j, (B, n).
        advantage: h_j d_j for every class, (B, classes + 1, H). The last row is -h_j, so that the
            bound of its sum is minus the largest denominator.
    """

    parts: Competition
    images: torch.Tensor
    code: torch.Tensor
    common: torch.Tensor
    advantage: torch.Tensor

    @classmethod
    def of(cls, parts: Competition, images: torch.Tensor, labels: torch.Tensor) -> Clean:
        """Evaluate the network."""
        flat = images.flatten(1)
        scale = parts.scale(parts.length(images)).unsqueeze(1)
        code = torch.softmax(scale * flat @ parts.weight.T + parts.offset, 1)
        by_class = parts.readout.T  # (classes, H)
        differences = by_class[labels].unsqueeze(1) - by_class
        with_denominator = torch.cat([differences, -torch.ones_like(differences[:, :1])], 1)
        return cls(parts, flat, code, code @ parts.weight, code.unsqueeze(1) * with_denominator)

    def combined(self, factors: torch.Tensor) -> torch.Tensor:
        """sum_j factor_j (M_j - common) of factors (B, R, H), as (B, R, n)."""
        shared = factors.sum(2, keepdim=True) * self.common.unsqueeze(1)
        return factors @ self.parts.weight - shared

    def centred(self) -> torch.Tensor:
        """M_j - common, (B, H, n)."""
        return self.parts.weight - self.common.unsqueeze(1)
