"""FC100, few-shot CIFAR-100 by superclass: no superclass is in two splits."""

from __future__ import annotations

from pydantic import Field

from harness.data.base import Dataset
from harness.data.cifar100 import COMPLETE, Cifar100
from harness.registry import datasets


@datasets.register("fc100")
class Fc100(Cifar100):
    """Photographs: CIFAR-100 split by superclass, 60 / 20 / 20 classes, 32 x 32, colour."""

    class Config(Dataset.Config):
        """The size of the classes."""

        images: int = Field(
            COMPLETE,
            ge=1,
            le=COMPLETE,
            description=(
                "images per class: 600 in FC100, fewer in a reduced copy "
                "(the first by name are used)"
            ),
        )

    config: Config
    citation = (
        "Krizhevsky 2009 (CIFAR-100); Oreshkin, Rodriguez Lopez, Lacoste, TADAM, NeurIPS 2018 "
        "(the split)"
    )
    pinned = {'{"images": 150}': "b066f5d9d6c2bfc3416468cd5dd05072588193429b10d62879757f064263ddd7"}
    split_list = ("fc100.txt", "860a1dc14c71ff2ed4324cc9bad53a86b318896c77e755c17de8563b1385c64c")
    images_switch = "images"

    def images_of(self, split: str) -> int:
        """Return ``images``, for every split."""
        return self.config.images
