"""A part of tieredImageNet: the classes of it that Tiny ImageNet has. A subset, and never to be called tieredImageNet."""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.carve import listed
from harness.data.tiny_imagenet import TinyImageNet
from harness.registry import datasets


@datasets.register("tiered-subset")
class TieredSubset(TinyImageNet):
    """Photographs: 123 of tieredImageNet's 608 classes, 61 / 17 / 45, 60 images each, at 64 x 64. A subset."""

    citation = (
        "Russakovsky et al., IJCV 115(3), 2015 (ImageNet), at 64 x 64 as Tiny ImageNet (Stanford CS231n); "
        "split: Ren et al., ICLR 2018 (tieredImageNet)"
    )
    split_list = (
        "tiered_subset.txt",
        "a9c90da91f74f0fbc307768ae7ca43f1aa97faaaaf97f47a272ba2b75d45446f",
    )
    per_class = 60
    pinned = {'{"size": 64}': "f6f376051f84b809a1144a5728b32601a47196a824f2038a739cea686459c9b2"}

    @property
    def title(self) -> str:
        """What tables call it."""
        return f"tieredImageNet, 123 classes ({self.config.size} px)"

    @classmethod
    def classes(cls) -> Iterator[tuple[str, str, str, str, list[str] | None]]:
        """The listed images of each class; its group is its category, and no category is in two splits."""
        for split, category, wnid, name, *numbers in listed(*cls.split_list):
            yield split, category, wnid, name, [f"{wnid}_{number}" for number in numbers]
