"""What training needs, whatever the rule: labels, balanced subsets, training episodes, state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.data.base import Images
from harness.data.sampler import BLOCK, sample
from harness.errors import HarnessError
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.rng import Rng

SMALLEST = 2
"""Classes of an episode, and images of each of its classes, at least."""


def labels_of(train: Images, learner: Learner) -> np.ndarray:
    """The labels (N,) of the training images.

    Raises:
        HarnessError: The images have no labels.
    """
    if train.labels is None:
        raise HarnessError(
            f"{learner.kind!r} cannot learn from images without labels",
            hint=f"regimes it supports: {', '.join(sorted(learner.regimes))}",
        )
    return train.labels


def unlabelled_error(kind: str) -> HarnessError:
    """The error of asking a learner that was trained without labels for its classifier."""
    return HarnessError(
        f"this {kind} learner was trained without labels and has no classifier",
        hint="use adapt() with a support set, or fit it on labelled images",
    )


def unfitted_error(kind: str) -> HarnessError:
    """The error of asking a learner that has seen no image for its classifier."""
    return HarnessError(f"this {kind} learner has seen no image and has no classifier")


def balanced_rows(labels: np.ndarray, count: int, rng: Rng) -> np.ndarray:
    """Draw ``count`` rows without replacement, spread as evenly over classes as possible.

    Returns:
        Rows in ascending order, int64 (min(count, N),).
    """
    if count >= len(labels):
        return np.arange(len(labels))
    generator = rng.numpy("balanced rows")
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    first_of_class = np.cumsum(sizes) - sizes
    # 0, 1, 2, ... within each class: rows of low rank are taken from all classes first.
    rank = np.arange(len(labels)) - np.repeat(first_of_class, sizes)
    tie_breaker = generator.random(len(labels))
    chosen = np.lexsort((tie_breaker, rank))[:count]
    return np.sort(by_class[chosen])


def shuffled_batches(
    images: int, batch: int, total: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Draw the rows of each step; every epoch shows each image once.

    A last batch of one image has no variance to normalise by and joins the one before it.

    Args:
        images: Training images.
        batch: Images per step.
        total: Images of all steps, repeats counted.
        generator: Shuffles.
    """
    seen = 0
    while seen < total:
        rows = torch.randperm(images, generator=generator)[: total - seen]
        seen += len(rows)
        batches = list(rows.split(batch))
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        yield from batches


@dataclass(frozen=True)
class EpisodeShape:
    """Size of a training episode.

    Attributes:
        ways: Classes.
        shots: Support images per class.
        queries: Query images per class.
    """

    ways: int
    shots: int
    queries: int

    @property
    def images(self) -> int:
        """Images in one episode.

        >>> EpisodeShape(ways=5, shots=1, queries=3).images
        20
        """
        return self.ways * (self.shots + self.queries)

    @classmethod
    def within(cls, train: Images, requested: EpisodeShape) -> EpisodeShape:
        """Shrink ``requested`` to the classes, and the images per class, that ``train`` has.

        ``train`` must have labels. Classes of fewer than two images take no part in episodes.

        Raises:
            HarnessError: There are fewer than two classes of at least two images.
        """
        sizes = np.bincount(train.known_labels)
        usable = sizes[sizes >= SMALLEST]
        if len(usable) < SMALLEST:
            raise HarnessError(
                "training on episodes needs two classes and two images of each class",
                hint=f"{len(usable)} of {train.n_classes} classes have two images",
            )
        smallest = int(usable.min())
        ways = min(requested.ways, len(usable))
        shots = min(requested.shots, smallest - 1)
        queries = min(requested.queries, smallest - shots)
        return cls(ways, shots, queries)


def training_episodes(
    train: Images, shape: EpisodeShape, count: int, rng: Rng
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw ``count`` episodes from the classes of at least two images.

    Yields:
        Rows of ``train`` for the support set, (ways * shots,), and for the queries,
        (ways * queries,), both grouped by class.
    """
    for first in range(0, count, BLOCK):
        episodes = sample(
            train,
            ways=shape.ways,
            shots=shape.shots,
            queries=shape.queries,
            episodes=min(BLOCK, count - first),
            rng=rng,
            first=first,
            min_images=SMALLEST,
        )
        yield from zip(episodes.support, episodes.query, strict=True)


def episode_targets(shape: EpisodeShape, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of an episode's support images and of its query images, both grouped by class."""
    ways = torch.arange(shape.ways, device=device)
    return ways.repeat_interleave(shape.shots), ways.repeat_interleave(shape.queries)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of rows of ``logits`` (..., n_way) whose largest entry is at the label (...)."""
    return float((logits.argmax(-1) == labels).float().mean())


class TensorLearner(Learner):
    """A learner whose whole state is the dict ``self.tensors`` and whether it was fitted."""

    tensors: dict[str, torch.Tensor]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned, as tensors."""
        return {**self.tensors, "fitted": torch.tensor(self.fitted)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; the learner then behaves as the one that gave it."""
        self.fitted = bool(state["fitted"])
        self.tensors = {
            name: value.to(self.device) for name, value in state.items() if name != "fitted"
        }
