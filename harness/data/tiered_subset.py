"""The classes of tieredImageNet that Tiny ImageNet has.

They are a subset and must never be called tieredImageNet.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.shipped import read_split_list
from harness.data.tiny_imagenet import ListedClass, TinyImageNet
from harness.registry import datasets


@datasets.register("tiered-subset")
class TieredSubset(TinyImageNet):
    """Photographs: 123 of tieredImageNet's 608 classes, 61 / 17 / 45, 60 images each, 64 x 64."""

    citation = (
        "Russakovsky et al., IJCV 115(3), 2015 (ImageNet), at 64 x 64 as Tiny ImageNet "
        "(Stanford CS231n); split: Ren et al., ICLR 2018 (tieredImageNet)"
    )
    split_list = (
        "tiered_subset.txt",
        "a9c90da91f74f0fbc307768ae7ca43f1aa97faaaaf97f47a272ba2b75d45446f",
    )
    per_class = 60
    pinned = {'{"size": 64}': "f6f376051f84b809a1144a5728b32601a47196a824f2038a739cea686459c9b2"}

    @property
    def title(self) -> str:
        """The name of the dataset in tables."""
        return f"tieredImageNet, 123 classes ({self.config.size} px)"

    @classmethod
    def listed_classes(cls) -> Iterator[ListedClass]:
        """Yield each class, with its listed images. No category (group) is in two splits."""
        for split, category, wnid, name, *numbers in read_split_list(*cls.split_list):
            images = [f"{wnid}_{number}" for number in numbers]
            yield ListedClass(split, category, wnid, name, images)
