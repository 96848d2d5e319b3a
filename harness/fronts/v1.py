"""A bank of Gabor filters with the measured statistics of primary visual cortex."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field, model_validator

from harness import registry
from harness.fronts.base import Front, Shape, Tensors
from harness.fronts.divisive import normalised, root
from harness.lazy import F, nn, stats, torch
from harness.metrics.macaque import (
    FREQUENCIES,
    FREQUENCY_EDGES,
    ORIENTATIONS,
    SHAPE_EDGES,
    SHAPES,
)
from harness.registry import fronts
from harness.rng import Rng

LARGEST_FREQUENCY = 0.45
"""Cycles a pixel; finer gratings alias."""

WIDTH_TO_FREQUENCY = 0.75
"""Rank correlation of n_x and frequency (Dapello et al. 2020, after De Valois et al. 1982)."""


@fronts.register("v1")
class V1(Front):
    """Gabor filters, rectified and perhaps divided (Dapello et al. 2020).

    A filter is exp(-(u^2 / s_x^2 + v^2 / s_y^2) / 2) cos(2 pi f u + phase), with u and v turned by
    its orientation, s_x = n_x / f, s_y = n_y / f, made zero-mean and of length one. Orientation, f
    and (n_x, n_y) are drawn from published histograms of macaque neurons; phases are uniform.
    Simple cells rectify; complex cells are the length of a pair of filters a quarter of a cycle
    apart, over the square root of two. Each filter sees one channel of the image. Responses are
    then averaged over squares of ``pool``.

    An image of 28 pixels spans 28 / ``pixels_per_degree`` degrees. Frequencies of fewer than
    ``lowest`` cycles a degree do not fit into the kernel, and those above 0.45 cycles a pixel
    alias: both are left out.
    """

    class Config(registry.Config):
        """Keys of ``v1``."""

        filters: int = Field(32, ge=2, description="number of filters, half of them complex")
        size: int = Field(9, ge=3, description="side of a filter in pixels, odd")
        stride: int = Field(2, ge=1, description="pixels between neighbouring responses")
        pool: int = Field(2, ge=1, description="side of the squares that responses are averaged in")
        pixels_per_degree: float = Field(18.0, gt=0, description="scale of the image")
        lowest: float = Field(1.0, ge=0.5, description="lowest frequency, cycles a degree")
        divisive: bool = Field(
            False, description="divide by the mean response over all filters and 3x3 places"
        )
        sigma: float = Field(0.1, gt=0, description="response at which the division sets in")

        @model_validator(mode="after")
        def _frequencies_are_left(self) -> V1.Config:
            if self.size % 2 == 0:
                raise ValueError("size must be odd, so that a pixel is in the middle")
            if self.lowest >= min(FREQUENCY_EDGES[-1], LARGEST_FREQUENCY * self.pixels_per_degree):
                raise ValueError("no frequency is left between `lowest` and 0.45 cycles a pixel")
            return self

    config: Config

    def __init__(self, config: V1.Config, image_shape: Shape, rng: Rng) -> None:
        super().__init__(config, image_shape, rng)
        generator = rng.numpy("filters")
        gabors = draw(config, generator)
        channel = generator.integers(0, image_shape[0], config.filters)
        pair = np.zeros((2, config.filters, *image_shape[:1], config.size, config.size))
        for i, gabor in enumerate(gabors):
            for quarter in (0, 1):
                pair[quarter, i, channel[i]] = gabor.kernel(config.size, quarter * math.pi / 2)
        self.tensors = {
            "even": torch.from_numpy(pair[0]).float(),
            "odd": torch.from_numpy(pair[1][config.filters // 2 :]).float(),
        }

    @property
    def shape(self) -> Shape:
        """(filters, H', W')."""
        config = self.config
        sides = [math.ceil(side / config.stride) // config.pool for side in self.image_shape[1:]]
        return config.filters, max(1, sides[0]), max(1, sides[1])

    def module(self) -> nn.Module:
        """The bank."""
        from harness.learning.nets import FrozenFunction

        config = self.config
        return FrozenFunction(
            _responses,
            self.tensors,
            stride=config.stride,
            pool=config.pool,
            sigma=config.sigma if config.divisive else None,
        )


class Gabor:
    """One filter.

    Attributes:
        orientation, phase: In radians.
        frequency: Cycles a pixel.
        n_x, n_y: Deviations of the envelope across and along its stripes, in cycles.
    """

    def __init__(
        self, orientation: float, frequency: float, phase: float, n_x: float, n_y: float
    ) -> None:
        self.orientation = orientation
        self.frequency = frequency
        self.phase = phase
        self.n_x = n_x
        self.n_y = n_y

    def kernel(self, size: int, advance: float = 0.0) -> np.ndarray:
        """The filter (size, size), zero-mean and of length one.

        Args:
            size: Side in pixels, odd.
            advance: Added to the phase.
        """
        half = size // 2
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        u = x * math.cos(self.orientation) + y * math.sin(self.orientation)
        v = -x * math.sin(self.orientation) + y * math.cos(self.orientation)
        across = u * self.frequency / self.n_x
        along = v * self.frequency / self.n_y
        envelope = np.exp(-(across**2 + along**2) / 2)
        wave = np.cos(2 * math.pi * self.frequency * u + self.phase + advance)
        kernel: np.ndarray = envelope * wave
        kernel -= envelope * (
            kernel.sum() / envelope.sum()
        )  # zero mean, without a step at the edge
        return kernel / max(np.linalg.norm(kernel), 1e-12)


def draw(config: V1.Config, generator: np.random.Generator) -> list[Gabor]:
    """Draw the filters of a bank from the published histograms."""
    count = config.filters
    bins = generator.choice(len(ORIENTATIONS), count, p=ORIENTATIONS / ORIENTATIONS.sum())
    orientations = np.radians(-22.5 + 45 * (bins + generator.random(count)))
    # A Gaussian copula: ranks of frequency and of n_x go together.
    first, second = generator.standard_normal((2, count))
    along = WIDTH_TO_FREQUENCY
    frequency_rank = stats.norm.cdf(first)
    width_rank = stats.norm.cdf(along * first + math.sqrt(1 - along**2) * second)
    highest = LARGEST_FREQUENCY * config.pixels_per_degree
    frequencies = quantiles(frequency_rank, FREQUENCY_EDGES, FREQUENCIES, config.lowest, highest)
    widths = quantiles(width_rank, SHAPE_EDGES, SHAPES.sum(1))
    gabors = []
    for i in range(count):
        row = int(np.searchsorted(SHAPE_EDGES, widths[i], side="right")) - 1
        length = quantiles(generator.random(1), SHAPE_EDGES, SHAPES[row])[0]
        gabors.append(
            Gabor(
                orientations[i],
                frequencies[i] / config.pixels_per_degree,
                2 * math.pi * generator.random(),
                widths[i],
                length,
            )
        )
    return gabors


def quantiles(
    ranks: np.ndarray,
    edges: np.ndarray,
    counts: np.ndarray,
    low: float | None = None,
    high: float | None = None,
) -> np.ndarray:
    """Values of a histogram whose bins are uniform in the logarithm.

    Args:
        ranks: In (0, 1).
        edges: Of the bins, ascending.
        counts: Of each bin.
        low, high: Leave out what is below or above.
    """
    reached = np.concatenate([[0.0], np.cumsum(counts / counts.sum())])
    logs = np.log(edges)
    start = 0.0 if low is None else np.interp(math.log(low), logs, reached)
    stop = 1.0 if high is None else np.interp(math.log(high), logs, reached)
    return np.exp(np.interp(start + ranks * (stop - start), reached, logs))


def _responses(
    images: torch.Tensor, tensors: Tensors, stride: int, pool: int, sigma: float | None
) -> torch.Tensor:
    even, odd = tensors["even"], tensors["odd"]
    padding = even.shape[-1] // 2
    first = F.conv2d(images, even, stride=stride, padding=padding)
    simple = len(even) - len(odd)
    second = F.conv2d(images, odd, stride=stride, padding=padding)
    pairs = first[:, simple:].square() + second.square()
    responses = torch.cat([first[:, :simple].relu(), root(pairs / 2)], 1)
    if sigma is not None:
        responses = normalised(responses, sigma, 3)
    return F.avg_pool2d(responses, min(pool, *responses.shape[-2:]))
