"""Metric learners trained on episodes: what prototypical, matching and relation networks share."""

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
from harness.learning.fitting import (
    UNLIMITED,
    EpisodeShape,
    balanced_rows,
    labels_of,
    training_episodes,
)
from harness.learning.heads import FeatureLearner
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.registry import Config
from harness.rng import Rng

PROTOTYPE_IMAGES = 20_000
"""Training images, at most, that the class means of ``classifier()`` are taken over."""

ROWS = 20
"""Rows of the training log."""


class EpisodicConfig(Config):
    """Switches that all of them have."""

    backbone: Literal["conv4", "mlp"] = Field(
        "conv4", description="four convolution blocks, or two ReLU layers"
    )
    width: int = Field(64, ge=1, description="filters a block, or units a layer")
    train_ways: int = Field(
        20, ge=2, description="classes in a training episode (fewer where there are not so many)"
    )
    train_shots: int = Field(1, ge=1, description="support images a class in a training episode")
    train_queries: int = Field(5, ge=1, description="query images a class in a training episode")
    episodes: int = Field(1000, ge=1, description="training episodes")
    lr: float = Field(
        4e-3, gt=0, description="Adam's learning rate; falls linearly to zero during training"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the network's products in training; bfloat16 is faster where a processor has it",
    )


class EpisodicLearner(FeatureLearner):
    """An embedding trained so that the queries of an episode are told apart by its support set.

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch. As a plain
    classifier it compares an image with the mean embedding of each training class.
    """

    typical_training_s = 200.0
    regimes = frozenset({"class_transfer"})

    config: EpisodicConfig

    def __init__(
        self, config: EpisodicConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ):
        super().__init__(config, image_shape, n_classes, rng)
        self._start()

    def _start(self) -> None:
        """Untrained parts, whose tensors ``self.tensors`` shares."""
        self.parts = self.untrained().to(self.device)
        with torch.no_grad():
            width = self.body()(torch.zeros(1, *self.image_shape, device=self.device)).shape[1]
        self._share(torch.zeros(self.n_classes, width, device=self.device))

    def untrained(self) -> nn.ModuleDict:
        """All that training changes, by name; a ``body`` is among it."""
        from harness.learning.bodies import backbone

        generator = self.rng.torch("initial weights")
        return nn.ModuleDict(
            {"body": backbone(self.config.backbone, self.image_shape, self.config.width, generator)}
        )

    @property
    def network(self) -> nn.Module:
        """The body, in training."""
        return self.parts["body"]

    def _share(self, prototypes: torch.Tensor) -> None:
        self.tensors = {**self.parts.state_dict(), "prototypes": prototypes}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state; the learner then behaves as the one that gave it."""
        super().load_state_dict(state)
        self.parts.to(self.device).load_state_dict(
            {name: self.tensors[name] for name in self.parts.state_dict()}
        )
        self._share(self.tensors["prototypes"])

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Train on episodes of the training classes; then take each class's mean embedding."""
        labels_of(train, self)
        config, log = self.config, TrainingLog()
        shape = EpisodeShape.within(
            train, EpisodeShape(config.train_ways, config.train_shots, config.train_queries)
        )
        total = max(1, budget.cap(config.episodes * shape.images) // shape.images)
        self._start()
        log.add(self)
        recent = []
        for i, (loss, accuracy) in enumerate(self._train(train, shape, total)):
            recent.append((float(loss), float(accuracy)))
            log.images_seen += shape.images
            log.step(self)
            if (i + 1) * ROWS // total > i * ROWS // total:
                means = np.mean(recent, axis=0)
                log.add(self, episodes=i + 1, loss=means[0], train_accuracy=means[1])
                progress((i + 1) / total, f"episode {i + 1}: train accuracy {means[1]:.3f}")
                recent = []
        self.tensors["prototypes"] = self._prototypes(train)
        self.fitted = True
        return log

    def _train(
        self, train: Images, shape: EpisodeShape, total: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Train the parts in place; yields each episode's loss and accuracy."""
        parts, images = self.parts.train(), torch.from_numpy(train.pixels).to(self.device)
        optimiser = torch.optim.Adam(parts.parameters(), lr=self.config.lr)
        targets = torch.arange(shape.ways, device=self.device).repeat_interleave(shape.queries)
        episodes = training_episodes(train, shape, total, self.rng.child("training episodes"))
        for i, rows in enumerate(episodes):
            batch = images[torch.from_numpy(np.concatenate(rows)).to(self.device)].float().div_(255)
            batch = self.altered(batch, shape, targets, i)
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
            ):
                embedded = self.network(batch)
            support, queries = embedded.float().split([len(rows[0]), len(rows[1])])
            logits = self.scores(queries, support.unflatten(0, (shape.ways, shape.shots)))
            loss = self.loss(logits, targets)
            optimiser.param_groups[0]["lr"] = self.config.lr * (1 - i / total)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield loss.detach(), (logits.argmax(1) == targets).float().mean()
        optimiser.zero_grad()

    def altered(
        self, batch: torch.Tensor, shape: EpisodeShape, targets: torch.Tensor, episode: int
    ) -> torch.Tensor:
        """An episode's images, support set first, as training is to see them: as they are."""
        return batch

    @abstractmethod
    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Embedded queries (Q, D) and support set (ways, shots, D) to logits (Q, ways), in training."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """What training makes small."""
        return F.cross_entropy(logits, targets)

    def _prototypes(self, train: Images) -> torch.Tensor:
        """Mean embedding of each class, (n_classes, D)."""
        subset = train.take(
            balanced_rows(train.labels, PROTOTYPE_IMAGES, self.rng.child("prototype images"))
        )
        body, labels = self.body(), torch.from_numpy(subset.labels).to(self.device)
        pixels = torch.from_numpy(subset.pixels).to(self.device)
        with torch.no_grad():
            embeddings = in_batches(lambda x: body(x.float() / 255), pixels, batch_size=256)
            return heads.class_means(embeddings[None], labels[None], self.n_classes)[0]

    def body(self) -> nn.Module:
        """The backbone, frozen."""
        return self.network.folded()

    def classifier(self) -> nn.Module:
        """The few-shot head on the mean embedding of each training class."""
        classes = torch.arange(self.n_classes, device=self.device)
        return self.fit_head(self.tensors["prototypes"][None], classes[None], self.n_classes).on(
            self.body()
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; a convolution's weights are (inputs of one position, filters), shared by all positions."""
        dense = self.config.backbone == "mlp"
        return [
            Synapses(name, w, presynaptic_sign=dense)
            for name, w in self.network.connections().items()
        ]
