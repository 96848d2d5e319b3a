"""Memories of images that a strategy may keep of a stream, of a fixed number of images."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from harness.data.base import Images
from harness.rng import Rng

LABEL_BYTES = 8
"""Bytes of a label beside its image."""


class Memory(ABC):
    """Images kept of those that were seen, each once; it draws from the stream's randomness.

    Args:
        size: The most images that it keeps.
        rng: Source of its draws.
    """

    def __init__(self, size: int, rng: Rng) -> None:
        self.size = size
        self.rng = rng
        self.seen = 0
        self.images: Images | None = None

    def __len__(self) -> int:
        return 0 if self.images is None else len(self.images)

    def add(self, arriving: Images) -> None:
        """Meet images, in their order."""
        generator = self.rng.numpy("memory", self.seen)
        known = [] if self.images is None else [self.images]
        pool = joined([*known, arriving])
        kept = list(range(len(self)))
        for row in range(len(self), len(pool)):
            self.seen += 1
            self._meet(row, kept, pool.known_labels, generator)
        self.images = pool.take(np.array(kept, np.int64))

    @abstractmethod
    def _meet(
        self, row: int, kept: list[int], labels: np.ndarray, generator: np.random.Generator
    ) -> None:
        """Keep a row or let it pass.

        Args:
            row: The row that arrives; it is number ``seen``, counted from 1.
            kept: Rows that are kept; changed in place.
            labels: Of all rows.
            generator: Source of draws.
        """

    def state(self) -> dict[str, np.ndarray]:
        """The memory as arrays."""
        state = {"seen": np.array(self.seen)}
        if self.images is not None:
            state["pixels"] = self.images.pixels
            state["labels"] = self.images.known_labels
            state["index"] = self.images.index
        return state

    def load(self, state: dict[str, np.ndarray], n_classes: int) -> None:
        """Go on from ``state``.

        Args:
            state: What ``state`` returned.
            n_classes: Output units of the stream.
        """
        self.seen = int(state["seen"])
        if "pixels" in state:
            self.images = Images(state["pixels"], state["labels"], state["index"], n_classes)


class Reservoir(Memory):
    """A uniform sample of all images seen: number i enters with probability size / i.

    Vitter 1985, algorithm R, as experience replay uses it (Chaudhry et al. 2019).
    """

    def _meet(
        self, row: int, kept: list[int], labels: np.ndarray, generator: np.random.Generator
    ) -> None:
        if len(kept) < self.size:
            kept.append(row)
            return
        place = int(generator.integers(self.seen))
        if place < self.size:
            kept[place] = row


class Balanced(Memory):
    """As many images of each class as of any other: GDumb's greedy sampler (Prabhu et al. 2020).

    An image is kept while its class has less than its share; if the memory is full, it takes the
    place of one of the largest class.
    """

    def _meet(
        self, row: int, kept: list[int], labels: np.ndarray, generator: np.random.Generator
    ) -> None:
        counts = np.bincount(labels[kept], minlength=int(labels.max()) + 1)
        own = int(labels[row])
        classes = len({*np.flatnonzero(counts).tolist(), own})
        if counts[own] >= self.size / classes:
            return
        if len(kept) == self.size:
            members = [
                place for place, other in enumerate(kept) if labels[other] == counts.argmax()
            ]
            kept.pop(members[int(generator.integers(len(members)))])
        kept.append(row)


def joined(parts: list[Images]) -> Images:
    """Images of several parts, one after the other; their output units are the same."""
    if len(parts) == 1:
        return parts[0]
    return Images(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.known_labels for part in parts]),
        np.concatenate([part.index for part in parts]),
        parts[0].n_classes,
    )


def image_bytes(images: Images) -> int:
    """Bytes of images that are kept as uint8, with their labels."""
    return len(images) * (int(np.prod(images.shape)) + LABEL_BYTES)
