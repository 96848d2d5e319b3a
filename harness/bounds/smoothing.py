"""Randomised smoothing: a certificate for another classifier than the network.

The smoothed network answers the class that the network gives most often for x + N(0, sigma^2 I).
Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918, algorithm "certify". What is certified is the
smoothed network, so never compare it with attacks on the network itself. This file imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.rng import Rng

ABSTAINED = -1
"""The class of an image whose most likely class is not certain enough."""


@dataclass(frozen=True)
class SmoothedProof:
    """What is certified of the smoothed network on N images.

    Attributes:
        sigma: standard deviation of the noise.
        alpha: the chance that one image's radius is wrong.
        classes: int64 (N,), of the smoothed network; -1 where it abstains.
        radius: float64 (N,), L2 distance within which that class does not change; 0 where it
            abstains.
        largest: the radius of an image for which all draws agree: none can be larger.
    """

    sigma: float
    alpha: float
    classes: np.ndarray
    radius: np.ndarray
    largest: float

    def accuracy(self, labels: np.ndarray, radius: float) -> float:
        """Certified accuracy of the smoothed network, abstentions counted as errors."""
        certified = (self.classes == labels) & (self.radius > radius)
        return float(certified.mean())


def smoothed(
    network: nn.Module,
    images: torch.Tensor,
    identity: np.ndarray,
    sigma: float,
    rng: Rng,
    *,
    draws_to_choose: int = 100,
    draws: int = 10_000,
    alpha: float = 0.001,
    batch_size: int = 1000,
) -> SmoothedProof:
    """Certify L2 radii of the smoothed network.

    Args:
        network: float32 (B, ...) to logits (B, classes); best trained with such noise. Noisy
            pixels are not clipped.
        images: float32 (N, ...).
        identity: int (N,), seeds each image's noise.
        sigma: Standard deviation of the noise, in units of pixels.
        rng: Source of the noise.
        draws_to_choose: Draws that choose the class.
        draws: Fresh draws that bound its probability.
        alpha: Chance that the radius of one image is too large.
        batch_size: Rows per forward pass; changes no value.
    """
    from scipy.stats import norm

    classes = np.full(len(images), ABSTAINED)
    radius = np.zeros(len(images))
    with torch.no_grad():
        for i, (image, who) in enumerate(zip(images, identity, strict=True)):
            generator = rng.torch("smoothing", int(who))
            counts = _count(network, image, sigma, draws_to_choose, generator, batch_size)
            chosen = int(counts.argmax())
            fresh = _count(network, image, sigma, draws, generator, batch_size)
            least = smallest_probability(int(fresh[chosen]), draws, alpha)
            if least > 0.5:
                classes[i] = chosen
                radius[i] = sigma * norm.ppf(least)
    largest = sigma * float(norm.ppf(smallest_probability(draws, draws, alpha)))
    return SmoothedProof(sigma, alpha, classes, radius, largest)


def smallest_probability(hits: int, draws: int, alpha: float) -> float:
    """One-sided exact lower confidence bound of a probability (Clopper & Pearson 1934).

    >>> round(smallest_probability(100, 100, 0.001), 4)
    0.9333
    >>> smallest_probability(0, 100, 0.001)
    0.0
    """
    from scipy.stats import beta

    return float(beta.ppf(alpha, hits, draws - hits + 1)) if hits else 0.0


def _count(
    network: nn.Module,
    image: torch.Tensor,
    sigma: float,
    draws: int,
    generator: torch.Generator,
    batch_size: int,
) -> np.ndarray:
    """How often each class is the answer, (classes,)."""
    counts = torch.zeros(0, dtype=torch.int64)
    noise = torch.randn(draws, *image.shape, generator=generator)
    for part in noise.split(batch_size):
        logits = network(image + sigma * part.to(image))
        found = torch.bincount(logits.argmax(1).cpu(), minlength=logits.shape[1])
        counts = found if not len(counts) else counts + found
    return counts.numpy()
