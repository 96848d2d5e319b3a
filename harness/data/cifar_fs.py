"""CIFAR-FS, few-shot CIFAR-100: 100 classes of small colour photographs, from the data root."""

from __future__ import annotations

from pydantic import Field

from harness.data.base import Dataset
from harness.data.cifar100 import COMPLETE, Cifar100
from harness.registry import datasets

SPLIT = ("cifar_fs.txt", "83fc8809b4a4c72ec88f69c92c4e4d07d725b32e84e1118fa40cc030a85bc1a1")


@datasets.register("cifar-fs")
class CifarFs(Cifar100):
    """Photographs: CIFAR-100 for few-shot learning, 64 / 16 / 20 classes, 32 x 32, colour."""

    class Config(Dataset.Config):
        """The size of the training classes."""

        train_images: int = Field(
            COMPLETE,
            ge=1,
            le=COMPLETE,
            description=(
                "images per training class: 600 in CIFAR-FS, fewer in a reduced copy "
                "(the first by name are used)"
            ),
        )

    config: Config
    citation = (
        "Krizhevsky 2009 (CIFAR-100); Bertinetto, Henriques, Torr, Vedaldi, ICLR 2019 (the split)"
    )
    pinned = {
        '{"train_images": 150}': "876ed3310b8a092468b461f617740188d0aa7a0de2d862bf00df2b5ac6d12f11"
    }
    split_list = SPLIT
    images_switch = "train_images"

    def images_of(self, split: str) -> int:
        """Return ``train_images`` for training classes; other classes are complete."""
        return self.config.train_images if split == "train" else COMPLETE
