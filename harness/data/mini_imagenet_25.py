"""miniImageNet-25: the part of miniImageNet that Tiny ImageNet has. A subset, and never to be called miniImageNet."""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.carve import listed
from harness.data.tiny_imagenet import TinyImageNet
from harness.registry import datasets


@datasets.register("mini-imagenet-25")
class MiniImageNet25(TinyImageNet):
    """Photographs: 25 of miniImageNet's 100 classes, 14 / 6 / 5, at 64 x 64. A subset: compare with nothing published."""

    citation = (
        "Russakovsky et al., IJCV 115(3), 2015 (ImageNet), at 64 x 64 as Tiny ImageNet (Stanford CS231n); "
        "split: Ravi, Larochelle, ICLR 2017"
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
        """What tables call it."""
        return f"miniImageNet-25 ({self.config.size} px)"

    @classmethod
    def classes(cls) -> Iterator[tuple[str, str, str, str, list[str] | None]]:
        """All 500 training and 50 validation images of Tiny ImageNet of each class."""
        for split, wnid, name in listed(*cls.split_list):
            yield split, "", wnid, name, None
