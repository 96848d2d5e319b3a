"""FC100, few-shot CIFAR-100 by superclass: no superclass is in two splits. From the files of ``cifar-fs``."""

from __future__ import annotations

from pydantic import Field

from harness.data.cifar100 import Cifar100
from harness.registry import Config, datasets


@datasets.register("fc100")
class Fc100(Cifar100):
    """Photographs: CIFAR-100 split by superclass, 60 / 20 / 20 classes of 12 / 4 / 4 superclasses, 32 x 32, colour."""

    class Config(Config):
        """How much of each class there is."""

        images: int = Field(
            600,
            ge=1,
            le=600,
            description="images a class; FC100 has 600, a reduced copy fewer (the first by "
            "name are taken)",
        )

    citation = "Krizhevsky 2009 (CIFAR-100); Oreshkin, Rodriguez Lopez, Lacoste, TADAM, NeurIPS 2018 (the split)"
    pinned = {'{"images": 150}': "b066f5d9d6c2bfc3416468cd5dd05072588193429b10d62879757f064263ddd7"}
    split_list = "fc100.txt", "860a1dc14c71ff2ed4324cc9bad53a86b318896c77e755c17de8563b1385c64c"

    def images_of(self, split: str) -> int:
        """``images``, whatever the split."""
        return self.config.images
