"""A learner that sees images through a front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.batching import in_batches
from harness.data.base import Images
from harness.fronts.base import Front, Shape
from harness.lazy import nn, torch
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    EpisodeClassifier,
    Learner,
    Progress,
    Synapses,
    TrainingLog,
    silent,
)
from harness.registry import fronts
from harness.rng import Rng

BATCH = 500
FRONT = "front."
"""Begins the names of the front's tensors in the state."""

SAID_OF_THE_CLASS = (
    "kind",
    "mini_batches",
    "plastic",
    "transductive",
    "goes_on",
    "regimes",
    "tunable",
)
"""Class variables of a learner that hold behind a front too."""


class Fronted(Learner):
    """A learner behind a front: both together are a learner of images.

    Args:
        front: What the learner sees images through.
        learner: Made for images of ``front.shape``.
    """

    def __init__(self, front: Front, learner: Learner) -> None:
        self.front = front
        self.learner = learner
        super().__init__(learner.config, front.image_shape, learner.n_classes, learner.rng)
        for name in SAID_OF_THE_CLASS:
            setattr(self, name, getattr(learner, name))
        self.fitted = learner.fitted

    @property
    def frozen_features(self) -> bool:
        """Whether ``adapt`` reads images only through ``embed``."""
        return self.learner.frozen_features

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Fit the front to the images, and the learner to what comes through."""
        self.front.fit(train.tensor())
        seen = self._images_seen(train)
        log = self.learner.fit(seen, budget=budget, progress=progress)
        self.fitted = self.learner.fitted
        return log

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """Let the learner go on with what comes through; the front is fitted to the first part."""
        if not self.fitted:
            self.front.fit(part.tensor())
        seen = self._images_seen(part)
        log = self.learner.go_on(seen, rivals=rivals, progress=progress)
        self.fitted = self.learner.fitted
        return log

    def settle(self, part: Images, *, rivals: torch.Tensor | None = None) -> None:
        """Let the learner settle what comes through."""
        self.learner.settle(self._images_seen(part), rivals=rivals)

    def _images_seen(self, images: Images) -> Images:
        """Images through the front, on the CPU; leaves the front on the learner's device."""
        self.front.tensors = {name: value.cpu() for name, value in self.front.tensors.items()}
        seen = in_batches(self.front.module(), images.tensor(), batch_size=BATCH)
        self._to_device()
        self.learner.watch = self._watched()
        return Images((255 * seen).numpy(), images.labels, images.index, images.n_classes)

    def _watched(self) -> Callable[[Learner, int], None] | None:
        """The callback of this learner, for the one behind the front."""
        watch = self.watch
        if watch is None:
            return None
        return lambda learner, images_seen: watch(self, images_seen)

    def _behind(self, module: nn.Module) -> nn.Module:
        return nn.Sequential(self.front.module(), module).eval()

    def classifier(self) -> nn.Module:
        """The front, then the learner's classifier."""
        return self._behind(self.learner.classifier())

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The learner's embedding of what it sees."""
        return self.learner.embed(self.front.module()(images))

    def connectome(self) -> list[Synapses]:
        """The learner's; a front has no plastic synapses."""
        return self.learner.connectome()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The learner's state, and the front's tensors."""
        front = {f"{FRONT}{name}": value for name, value in self.front.tensors.items()}
        return {**self.learner.state_dict(), **front}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state."""
        self.front.tensors = {
            name.removeprefix(FRONT): value.to(self.device)
            for name, value in state.items()
            if name.startswith(FRONT)
        }
        self.learner.device = self.device
        self.learner.load_state_dict(
            {name: value for name, value in state.items() if not name.startswith(FRONT)}
        )
        self.fitted = self.learner.fitted

    def _to_device(self) -> None:
        self.front.tensors = {
            name: value.to(self.device) for name, value in self.front.tensors.items()
        }

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """The learner's classifier of an episode, behind the front."""
        seen = self._seen(support_images)
        return self._behind(self.learner.adapt(seen, support_labels, n_way))

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes."""
        classify = self.learner.adapt_many(self._seen(support_images), support_labels, n_way)
        return lambda queries: classify(self._seen(queries))

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt_many`` on embeddings."""
        return self.learner.head_many(support, support_labels, n_way)

    def _seen(self, images: torch.Tensor) -> torch.Tensor:
        """Images (..., C, H, W) through the front."""
        flat = images.reshape(-1, *images.shape[-3:])
        seen = in_batches(self.front.module(), flat, batch_size=BATCH)
        return seen.reshape(*images.shape[:-3], *seen.shape[1:])


def untrained(learner: Learner, n_classes: int | None = None) -> Learner:
    """Rebuild a learner as it was before training, with its front if it has one.

    Args:
        learner: Trained or not.
        n_classes: Of the new one; as many as the learner has if None.
    """
    if isinstance(learner, Fronted):
        front = learner.front
        before = type(front)(front.config, front.image_shape, front.rng)
        return Fronted(before, untrained(learner.learner, n_classes))
    classes = learner.n_classes if n_classes is None else n_classes
    return type(learner)(learner.config, learner.image_shape, classes, learner.rng)


def front_of(spec: dict[str, Any], image_shape: Shape, rng: Rng) -> Front:
    """The front of a kind and its keys, for images of a shape (C, H, W)."""
    keys = dict(spec)
    cls = fronts[keys.pop("kind")]
    return cls(cls.Config.model_validate(keys), image_shape, rng)


def split_front(
    cls: type[Learner], config: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Take the front's kind and keys, if there is one, out of a learner's config.

    A learner whose own config has a key ``front`` keeps it.
    """
    if "front" not in config or "front" in cls.Config.model_fields:
        return None, config
    keys = dict(config)
    return keys.pop("front"), keys
