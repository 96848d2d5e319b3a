"""The Front contract: a fixed transformation of images that a learner sees in their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from harness import registry
from harness.lazy import nn, torch
from harness.rng import Rng

Shape = tuple[int, int, int]
Tensors = dict[str, "torch.Tensor"]


class Front(ABC):
    """A transformation of images that no label teaches, and no learning rule changes.

    Args:
        config: An instance of the class's ``Config``.
        image_shape: (C, H, W) of the images.
        rng: Source of its randomness.

    Attributes:
        tensors: Its parameters.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[registry.Config]]

    def __init__(self, config: registry.Config, image_shape: Shape, rng: Rng) -> None:
        self.config = config
        self.image_shape = image_shape
        self.rng = rng
        self.tensors: Tensors = {}

    @property
    def shape(self) -> Shape:
        """(C, H, W) of what the learner sees."""
        return self.image_shape

    def fit(self, images: torch.Tensor) -> None:
        """Set what depends on the statistics of training images (N, C, H, W), if anything does."""
        return

    @abstractmethod
    def module(self) -> nn.Module:
        """Images (B, C, H, W) in [0, 1] to ``shape``, differentiable, frozen and in eval mode."""
