"""Decorrelation of pixels, as retina and thalamus are thought to do it."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness import registry
from harness.fronts.base import Front, Shape, Tensors
from harness.lazy import nn, torch
from harness.registry import fronts
from harness.rng import Rng


@fronts.register("whitening")
class Whitening(Front):
    """Zero-phase (ZCA) whitening of the pixels, from the covariance of training images.

    W = U (S + eps)^-1/2 U^T with the covariance U S U^T (Bell & Sejnowski 1997); images are centred
    first. It amplifies what varies little, high frequencies above all, and with them small
    perturbations. Until there were training images, the covariance is taken to be that of
    independent pixels, uniform in [0, 1].

    With ``channels: split`` positive and negative parts have a channel each, like on- and
    off-centre cells, for learners that need inputs >= 0.
    """

    class Config(registry.Config):
        """Keys of ``whitening``."""

        eps: float = Field(0.01, gt=0, description="added to the variances")
        channels: Literal["signed", "split"] = Field(
            "signed", description="one signed channel, or one for each sign"
        )

    config: Config

    def __init__(self, config: Whitening.Config, image_shape: Shape, rng: Rng) -> None:
        super().__init__(config, image_shape, rng)
        pixels = math.prod(image_shape)
        independent = 1 / 12
        scale = (independent + config.eps) ** -0.5
        self.tensors = {
            "mean": torch.full((1, pixels), 0.5),
            "whitener": torch.eye(pixels) * scale,
        }

    @property
    def shape(self) -> Shape:
        """Twice as many channels if signs are split."""
        channels, height, width = self.image_shape
        return (2 * channels if self.config.channels == "split" else channels), height, width

    def fit(self, images: torch.Tensor) -> None:
        """Take the mean and the covariance of images (N, C, H, W)."""
        flat = images.flatten(1).double()
        mean = flat.mean(0, keepdim=True)
        centred = flat - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))
        scales = (values.clamp(min=0) + self.config.eps).rsqrt()
        self.tensors = {
            "mean": mean.float(),
            "whitener": ((vectors * scales) @ vectors.T).float(),
        }

    def module(self) -> nn.Module:
        """The linear map, and the split."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(_whitened, self.tensors, split=self.config.channels == "split")


def _whitened(images: torch.Tensor, tensors: Tensors, split: bool) -> torch.Tensor:
    flat = (images.flatten(1) - tensors["mean"]) @ tensors["whitener"]
    x = flat.reshape(images.shape)
    return torch.cat([x.relu(), (-x).relu()], 1) if split else x
