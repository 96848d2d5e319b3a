"""miniImageNet-25: the classes of miniImageNet that Tiny ImageNet has.

It is a subset and must never be called miniImageNet.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.shipped import read_split_list
from harness.data.tiny_imagenet import ListedClass, TinyImageNet
from harness.registry import datasets


@datasets.register("mini-imagenet-25")
class MiniImageNet25(TinyImageNet):
    """Photographs: 25 of miniImageNet's classes, 14 / 6 / 5, 64 x 64. Not comparable with it."""

    citation = (
        "Russakovsky et al., IJCV 115(3), 2015 (ImageNet), at 64 x 64 as Tiny ImageNet "
        "(Stanford CS231n); split: Ravi, Larochelle, ICLR 2017"
    )
    split_list = (
        "mini_imagenet_25.txt",
        "324793b78fc836d7d3c68a07387c451ad1b8c63a327da1f629040be99fb56b99",
    )
    per_class = 550
    pinned = {
        '{"size": 64}': "a7880461e50cc33925e4993e764ceebad2415a0651d283ec53bc2b9e4af94d67",
        '{"size": 32}': "05f9d64bce5c105f95d3fa1451da62a477b001a8351e85829c395c5f1c943694",
    }

    @property
    def title(self) -> str:
        """The name of the dataset in tables."""
        return f"miniImageNet-25 ({self.config.size} px)"

    @classmethod
    def listed_classes(cls) -> Iterator[ListedClass]:
        """Yield each class, with all its 500 training and 50 validation images."""
        for split, wnid, name in read_split_list(*cls.split_list):
            yield ListedClass(split, "", wnid, name, images=None)
