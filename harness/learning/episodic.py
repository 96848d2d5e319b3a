"""Metric learners trained on episodes: prototypical, matching and relation networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning import heads
from harness.learning.backbone_learner import (
    BackboneLearner,
    EpisodeConfig,
    requested_shape,
    steps_within,
)
from harness.learning.feature_learner import EpisodeHead, FeatureLearner
from harness.learning.fitting import (
    EpisodeShape,
    balanced_rows,
    episode_targets,
    labels_of,
    training_episodes,
    unfitted_error,
)
from harness.learning.learner import NO_LIMIT, Budget, Progress, TrainingLog, silent
from harness.rng import Rng

PROTOTYPE_IMAGES = 20_000
"""Training images, at most, in the class means of ``classifier()``."""


class EpisodicConfig(EpisodeConfig):
    """Keys of every metric learner."""

    train_queries: int = Field(5, ge=1, description="query images per class in a training episode")
    episodes: int = Field(1000, ge=1, description="training episodes")
    lr: float = Field(
        4e-3, gt=0, description="Adam's learning rate; falls linearly to zero during training"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of the network's products in training; bfloat16 is faster on "
        "processors that support it",
    )


class EpisodicLearner(FeatureLearner, BackboneLearner):
    """An embedding trained so that an episode's support set classifies its queries.

    Inductive: batch normalisation uses the running statistics of training, never those of a query
    batch. As a plain classifier it compares an image with the mean embedding of each training
    class.
    """

    typical_training_s = 60.0
    mini_batches = False
    regimes = frozenset({"class_transfer"})

    config: EpisodicConfig

    def __init__(
        self, config: EpisodicConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning."""
        self.parts = self.untrained().to(self.device)
        image = torch.zeros(1, *self.image_shape, device=self.device)
        with torch.no_grad():
            width = self.body()(image).shape[1]
        self._share(prototypes=torch.zeros(self.n_classes, width, device=self.device))

    def untrained(self) -> nn.ModuleDict:
        """All that training changes, by name, on the CPU: here the ``body``."""
        body = self.config.new_body(self.image_shape, self.rng.torch("initial weights"))
        return nn.ModuleDict({"body": body})

    @property
    def trained_body(self) -> nn.Module:
        """The body in ``self.parts``."""
        return self.part("body")

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train on episodes of the training classes, then store each class's mean embedding."""
        labels_of(train, self)
        config = self.config
        shape = EpisodeShape.within(train, requested_shape(config, config.train_queries))
        total = steps_within(budget.cap(config.episodes * shape.images), shape.images)
        self._reset()
        log = TrainingLog()
        log.add(self)
        self.log_training(
            self._train(train, shape, total),
            total,
            images=shape.images,
            unit="episode",
            log=log,
            progress=progress,
        )
        self.tensors["prototypes"] = self._prototypes(train)
        self.fitted = True
        return log

    def _train(
        self, train: Images, shape: EpisodeShape, total: int
    ) -> Iterator[tuple[float, float]]:
        """Train the parts in place; yields each episode's loss and accuracy."""
        parts = self.parts.train()
        images = torch.from_numpy(train.pixels).to(self.device)
        optimiser = torch.optim.Adam(parts.parameters(), lr=self.config.lr)
        _, targets = episode_targets(shape, self.device)
        episodes = training_episodes(train, shape, total, self.rng.child("training episodes"))
        for i, (support_rows, query_rows) in enumerate(episodes):
            rows = torch.from_numpy(np.concatenate([support_rows, query_rows])).to(self.device)
            batch = self.altered(images[rows].float().div_(255), shape, targets, i)
            in_bfloat16 = torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
            )
            with in_bfloat16, self.body_draws(i):
                embedded = self.trained_body(batch)
            support, queries = embedded.float().split([len(support_rows), len(query_rows)])
            logits = self.scores(queries, support.unflatten(0, (shape.ways, shape.shots)))
            loss = self.loss(logits, targets)
            optimiser.param_groups[0]["lr"] = self.config.lr * (1 - i / total)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield float(loss.detach()), float((logits.argmax(1) == targets).float().mean())
        optimiser.zero_grad()

    def altered(
        self, batch: torch.Tensor, shape: EpisodeShape, targets: torch.Tensor, episode: int
    ) -> torch.Tensor:
        """The images of an episode as training sees them; a subclass may change them.

        Args:
            batch: Support images, then query images.
            shape: Size of the episode.
            targets: Labels of the queries.
            episode: Number of the episode.
        """
        return batch

    @abstractmethod
    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Logits (Q, ways) in training.

        Args:
            queries: Embedded queries (Q, D).
            support: Embedded support set (ways, shots, D).
        """

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The training loss of an episode."""
        return F.cross_entropy(logits, targets)

    def _prototypes(self, train: Images) -> torch.Tensor:
        """Mean embedding of each class, (n_classes, D)."""
        all_labels = labels_of(train, self)
        generator = self.rng.child("prototype images")
        rows = balanced_rows(all_labels, PROTOTYPE_IMAGES, generator)
        subset = train.take(rows)
        body = self.body()
        labels = torch.from_numpy(all_labels[rows]).to(self.device)
        pixels = torch.from_numpy(subset.pixels).to(self.device)
        with torch.no_grad():
            embeddings = in_batches(lambda x: body(x.float() / 255), pixels, batch_size=256)
            return heads.class_means(embeddings[None], labels[None], self.n_classes)[0]

    def body(self) -> nn.Module:
        """The body, frozen."""
        from harness.learning.bodies import frozen_body

        return frozen_body(self.trained_body)

    def classifier(self) -> nn.Module:
        """The few-shot head on the mean embedding of each training class.

        A class that had no image is never predicted.

        Raises:
            HarnessError: No class had any.
        """
        from harness.learning.nets import AmongKnown

        means = self.tensors["prototypes"]
        known = means.any(1).nonzero()[:, 0]
        ways = len(known)
        if not ways:
            raise unfitted_error(self.kind)
        model = self.head_of_means(means[known]).on(self.body())
        return model if ways == self.n_classes else AmongKnown(model, known, self.n_classes).eval()

    def head_of_means(self, means: torch.Tensor) -> EpisodeHead:
        """The few-shot head of classes that have one image each: their mean embeddings (k, D)."""
        classes = torch.arange(len(means), device=self.device)
        return self.fit_head(means[None], classes[None], len(means))
