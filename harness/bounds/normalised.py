"""Networks that first divide the image by its length: CROWN on what follows.

The normalised image is s x' with a number s between 1 / (longest length) and 1 / (shortest). Its
range is cut into slices. In each of them a linear function of s x' is least at one of the slice's
ends and at the x' where it is least on the images. This file imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from harness.bounds import crown
from harness.bounds.box import Box
from harness.bounds.domain import Domain
from harness.bounds.graph import Graph, Step
from harness.bounds.rounding import gamma
from harness.bounds.shaped import Normalised

SLICES = 8
"""Parts of the range of an image's length, each bounded on its own."""


@dataclass(frozen=True)
class ScaledDomain(Domain):
    """Images of a domain, each times a number between two ends.

    Attributes:
        ends: smallest and largest number, (B, 1) each.
    """

    ends: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, domain: Domain, ends: tuple[torch.Tensor, torch.Tensor]) -> ScaledDomain:
        """Scale a domain."""
        return cls(domain.images, domain.eps, domain.norm, ends)

    @property
    def is_box(self) -> bool:
        """Not a box: all pixels are scaled alike."""
        return False

    @property
    def is_ball(self) -> bool:
        """Not a ball."""
        return False

    @property
    def pixels(self) -> Box:
        """Range of each pixel of the scaled, flat images; pixels are never negative."""
        flat = self.box.flatten()
        return Box(flat.low * self.ends[0], flat.high * self.ends[1])

    def minimum(self, rows: torch.Tensor, *, cut: bool = True) -> torch.Tensor:
        """Smallest value of linear functions of the scaled images, (B, R)."""
        least = super().minimum(rows, cut=cut)
        return torch.minimum(self.ends[0] * least, self.ends[1] * least)


def scale_slices(op: Normalised, domain: Domain) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Both ends, (B, 1) each, of each slice of the number that an image is multiplied by."""
    shortest, longest = domain.length()
    smallest = op.scale(longest).unsqueeze(1)
    largest = op.scale(shortest).unsqueeze(1)
    width = (largest - smallest) / SLICES
    for i in range(SLICES):
        yield smallest + i * width, smallest + (i + 1) * width


def normalised_size(op: Normalised, domain: Domain) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest pixels of the normalised image, and their largest error in float32: (B, n) each."""
    shortest, _ = domain.length()
    size = (domain.box.high.flatten(1) * op.scale(shortest).unsqueeze(1)).clamp_max(1)
    # Squares and their sum, the root, the added constant and the division.
    return size, gamma(size.shape[1] + 6) * size


@dataclass(frozen=True)
class AfterNormalisation:
    """A network behind the division of its flat image by the length.

    Attributes:
        op: the division.
        rest: the network as a function of the normalised image.
    """

    op: Normalised
    rest: Graph

    @classmethod
    def of(cls, graph: Graph) -> AfterNormalisation | None:
        """The parts of a network of this kind; None if it is of another kind."""
        place = next((i for i, s in enumerate(graph.steps) if isinstance(s.op, Normalised)), 0)
        op = graph.steps[place].op
        if not isinstance(op, Normalised) or not all(map(graph.flattens, range(1, place))):
            return None
        later = graph.steps[place + 1 :]
        if any(i < place for step in later for i in step.inputs):
            return None
        first = Step(None, (), graph.steps[place].shape)
        moved = [replace(step, inputs=tuple(i - place for i in step.inputs)) for step in later]
        return cls(op, Graph((first, *moved)))


def margins(parts: AfterNormalisation, domain: Domain, labels: torch.Tensor) -> torch.Tensor:
    """Lower bounds of the margins of the network in float32, (B, classes)."""
    _, start_error = normalised_size(parts.op, domain)
    bounds = []
    for ends in scale_slices(parts.op, domain):
        scaled = ScaledDomain.of(domain, ends)
        limits = crown.boxes(parts.rest, scaled)
        error = crown.rounding(parts.rest, limits, start_error)
        slack = error + error.gather(1, labels.unsqueeze(1))
        bounds.append(crown.margins_in(parts.rest, scaled, labels, limits) - slack)
    return torch.stack(bounds).amin(0)
