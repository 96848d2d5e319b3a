"""What learners share when they are fitted: labels, balanced subsets, training episodes, state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.data.base import Images
from harness.data.episodes import BLOCK, sample
from harness.errors import HarnessError
from harness.lazy import torch
from harness.learning.learner import Budget, Learner
from harness.rng import Rng


def labels_of(train: Images, learner: Learner) -> np.ndarray:
    """The labels (N,), or an error that says why the learner cannot do without them."""
    if train.labels is None:
        raise HarnessError(
            f"{learner.kind!r} cannot learn from images without labels",
            hint=f"regimes it knows: {', '.join(sorted(learner.regimes))}",
        )
    return train.labels


def balanced_rows(labels: np.ndarray, count: int, rng: Rng) -> np.ndarray:
    """``count`` rows, as many of each class as can be, drawn without replacement; ascending."""
    if count >= len(labels):
        return np.arange(len(labels))
    generator = rng.numpy("balanced rows")
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(
        np.cumsum(sizes) - sizes, sizes
    )  # 0, 1, 2 ... within each class
    return np.sort(by_class[np.lexsort((generator.random(len(labels)), rank))[:count]])


@dataclass(frozen=True)
class EpisodeShape:
    """Size of a training episode."""

    ways: int
    shots: int
    queries: int

    @property
    def images(self) -> int:
        """Images in one episode."""
        return self.ways * (self.shots + self.queries)

    @classmethod
    def within(cls, train: Images, wanted: EpisodeShape) -> EpisodeShape:
        """``wanted``, with no more classes and no more images a class than ``train`` has."""
        smallest = int(np.bincount(train.labels, minlength=train.n_classes).min())
        if smallest < 2 or train.n_classes < 2:
            raise HarnessError(
                "training on episodes needs two classes and two images of each class",
                hint=f"there are {train.n_classes} classes; the smallest has {smallest}",
            )
        shots = min(wanted.shots, smallest - 1)
        return cls(min(wanted.ways, train.n_classes), shots, min(wanted.queries, smallest - shots))


def training_episodes(
    train: Images, shape: EpisodeShape, count: int, rng: Rng
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of ``train``, (ways * shots,) and (ways * queries,), way by way, for each of ``count`` episodes."""
    for first in range(0, count, BLOCK):
        episodes = sample(
            train,
            ways=shape.ways,
            shots=shape.shots,
            queries=shape.queries,
            episodes=min(BLOCK, count - first),
            rng=rng,
            first=first,
        )
        yield from zip(episodes.support, episodes.query, strict=True)


class TensorLearner(Learner):
    """A learner whose whole state is ``self.tensors``, a dict from name to tensor, and whether it was fitted."""

    tensors: dict[str, torch.Tensor]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned."""
        return {**self.tensors, "fitted": torch.tensor(self.fitted)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state; the learner then behaves as the one that gave it."""
        self.fitted = bool(state["fitted"])
        self.tensors = {
            name: value.to(self.device) for name, value in state.items() if name != "fitted"
        }


UNLIMITED = Budget()
"""What a learner is given where nobody set a budget."""
