"""Meta-learning by gradient steps: what MAML, its simplifications and Reptile share. The inner steps are learn2learn's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.fitting import (
    UNLIMITED,
    EpisodeShape,
    TensorLearner,
    balanced_rows,
    labels_of,
    training_episodes,
)
from harness.learning.learner import (
    Budget,
    EpisodeClassifier,
    Progress,
    Synapses,
    TrainingLog,
    silent,
)
from harness.registry import Config
from harness.rng import Rng

SUPPORT_IMAGES = 2000
"""Images, at most, that ``classifier()`` adapts to."""

EPISODES_AT_ONCE = 32
"""Episodes of a perceptron adapted side by side."""

ROWS = 20
"""Rows of the training log."""

Episode = tuple["torch.Tensor", "torch.Tensor"]
"""Support images (ways * shots, C, H, W) and query images (ways * queries, C, H, W), way by way."""


class InnerConfig(Config):
    """Switches that all of them have."""

    backbone: Literal["conv4", "mlp"] = Field(
        "mlp", description="four convolution blocks, or two ReLU layers"
    )
    width: int = Field(64, ge=1, description="filters a block, or units a layer")
    train_ways: int = Field(
        5, ge=2, description="classes in a training episode (fewer where there are not so many)"
    )
    train_shots: int = Field(1, ge=1, description="support images a class in a training episode")
    inner_steps: int = Field(5, ge=1, description="gradient steps on the support set in training")
    inner_lr: float = Field(
        0.1, gt=0, description="learning rate of those steps, in training and after"
    )
    adapt_steps: int = Field(
        5, ge=1, description="gradient steps on the support set after training"
    )
    meta_batch: int = Field(4, ge=1, description="episodes in a step on the initial weights")
    iterations: int = Field(500, ge=1, description="steps on the initial weights")
    lr: float = Field(
        2e-3, gt=0, description="Adam's learning rate of those steps; falls linearly to zero"
    )
    classifier_shots: int = Field(
        20, ge=1, description="training images a class that classifier() adapts to"
    )


class MetaConfig(InnerConfig):
    """Switches of those that learn from queries."""

    train_queries: int = Field(5, ge=1, description="query images a class in a training episode")


class MetaLearner(TensorLearner):
    """Initial weights that a few gradient steps on a support set turn into a classifier.

    Inductive: the Conv4 has group normalisation, so that no statistic of a query batch, nor of another image, enters.
    (Most published figures use batch normalisation over the query batch, i.e. transductive.)

    The classifier layer starts at zero, so one trained model adapts to any number of ways; only the body is learned.
    (UNICORN-MAML, Ye & Chao 2022, starts it from one learned column that all classes share. Under a softmax that is
    the same: what is added to every class alike changes no loss, and the column's meta-gradient is zero.)

    As a plain classifier it is adapted to a class-balanced sample of the training set, `classifier_shots` a class.
    """

    typical_training_s = 100.0
    requires = "learn2learn"
    regimes = frozenset({"class_transfer"})
    first_order: ClassVar[bool] = False
    """Whether training ignores how the inner steps depend on the initial weights."""

    config: InnerConfig

    def __init__(
        self, config: InnerConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ):
        super().__init__(config, image_shape, n_classes, rng)
        self._start()

    def _start(self) -> None:
        """Untrained parts, whose tensors ``self.tensors`` shares."""
        self.parts = self.untrained().to(self.device)
        self._share(
            torch.zeros(0, *self.image_shape, dtype=torch.uint8, device=self.device),
            torch.zeros(0, dtype=torch.int64, device=self.device),
        )

    def untrained(self) -> nn.ModuleDict:
        """All that training changes, by name; a ``network`` is among it."""
        from harness.learning.bodies import Headed, backbone

        generator = self.rng.torch("initial weights")
        body = backbone(
            self.config.backbone, self.image_shape, self.config.width, generator, norm="group"
        )
        return nn.ModuleDict({"network": Headed(body, self.image_shape)})

    @property
    def network(self) -> nn.Module:
        """Body and head, before any adaptation."""
        return self.parts["network"]

    def _share(self, support_pixels: torch.Tensor, support_labels: torch.Tensor) -> None:
        self.tensors = {
            **self.parts.state_dict(),
            "support_pixels": support_pixels,
            "support_labels": support_labels,
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state; the learner then behaves as the one that gave it."""
        super().load_state_dict(state)
        self.parts.to(self.device).load_state_dict(
            {name: self.tensors[name] for name in self.parts.state_dict()}
        )
        self._share(self.tensors["support_pixels"], self.tensors["support_labels"])

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Learn the initial weights from episodes of the training classes."""
        labels, config, log = labels_of(train, self), self.config, TrainingLog()
        shape = EpisodeShape.within(train, self.wanted_shape())
        per_step = shape.images * config.meta_batch
        total = max(1, budget.cap(config.iterations * per_step) // per_step)
        self._start()
        log.add(self)
        recent = []
        for i, (loss, accuracy) in enumerate(self._train(train, shape, total)):
            recent.append((loss, accuracy))
            log.images_seen += per_step
            log.step(self)
            if (i + 1) * ROWS // total > i * ROWS // total:
                means = np.mean(recent, axis=0)
                log.add(self, iterations=i + 1, loss=means[0], train_accuracy=means[1])
                progress((i + 1) / total, f"iteration {i + 1}: train accuracy {means[1]:.3f}")
                recent = []
        wanted = min(SUPPORT_IMAGES, config.classifier_shots * self.n_classes)
        support = train.take(
            balanced_rows(labels, wanted, self.rng.child("support of the classifier"))
        )
        self._share(
            torch.from_numpy(support.pixels).to(self.device),
            torch.from_numpy(support.labels).to(self.device),
        )
        self.fitted = True
        return log

    def wanted_shape(self) -> EpisodeShape:
        """Size of a training episode."""
        return EpisodeShape(
            self.config.train_ways, self.config.train_shots, self.config.train_queries
        )

    def _train(
        self, train: Images, shape: EpisodeShape, total: int
    ) -> Iterator[tuple[float, float]]:
        """Train the parts in place; yields the mean loss and accuracy of each meta-batch."""
        config, optimiser = self.config, self.outer()
        images = torch.from_numpy(train.pixels).to(self.device)
        episodes = training_episodes(
            train, shape, total * config.meta_batch, self.rng.child("training episodes")
        )
        for i in range(total):
            batch = [
                tuple(
                    images[torch.from_numpy(rows).to(self.device)].float() / 255
                    for rows in next(episodes)
                )
                for _ in range(config.meta_batch)
            ]
            optimiser.param_groups[0]["lr"] = config.lr * (1 - i / total)
            optimiser.zero_grad()
            outcome = self.meta_gradient(batch, shape, i)
            optimiser.step()
            yield outcome
        optimiser.zero_grad()

    def outer(self) -> torch.optim.Optimizer:
        """Steps on the initial weights."""
        return torch.optim.Adam(self.parts.parameters(), lr=self.config.lr)

    def meta_gradient(
        self, batch: Sequence[Episode], shape: EpisodeShape, iteration: int
    ) -> tuple[float, float]:
        """Leave the gradient of the mean query loss after adaptation in ``.grad``.

        Returns:
            Mean query loss and accuracy after adaptation.
        """
        labels = targets(shape, self.device)
        losses, right = [], []
        for support, queries in batch:
            adapted = self.adapted(
                support,
                labels[0],
                shape.ways,
                self.config.inner_steps,
                first_order=self.first_order,
            )
            logits = adapted(queries)
            loss = F.cross_entropy(logits, labels[1])
            (loss / len(batch)).backward()
            losses.append(float(loss.detach()))
            right.append(accuracy(logits, labels[1]))
        return float(np.mean(losses)), float(np.mean(right))

    def adapted(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        n_way: int,
        steps: int,
        *,
        first_order: bool,
    ) -> nn.Module:
        """A learn2learn clone of the network with n_way outputs, after ``steps`` gradient steps on the cross-entropy."""
        clone = self.clone(n_way)
        with torch.enable_grad():
            for _ in range(steps):
                clone.adapt(F.cross_entropy(clone(images), labels), first_order=first_order)
        return clone.module

    def clone(self, n_way: int):
        """A learn2learn clone of the network with n_way outputs."""
        from harness.imports import import_learn2learn
        from harness.learning.bodies import widen

        with torch.enable_grad():
            clone = (
                import_learn2learn().algorithms.MAML(self.network, lr=self.config.inner_lr).clone()
            )
            widen(clone.module, n_way)
        return clone

    def rates(self) -> list[torch.Tensor | float]:
        """Step sizes of the head's weight and bias, then of the body's parameters; those of the head broadcast over ways."""
        return [self.config.inner_lr] * (2 + len(list(self.network.parameters())))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The body's output before any adaptation."""
        from harness.learning.bodies import freeze

        return freeze(copy.deepcopy(self.network.body))(images)

    def classifier(self) -> nn.Module:
        """The network adapted to the class-balanced sample that ``fit`` kept; before ``fit``, not adapted."""
        return self.adapt(
            self.tensors["support_pixels"].float() / 255,
            self.tensors["support_labels"],
            self.n_classes,
        )

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """``adapt_steps`` gradient steps on the support set, from the learned initial weights."""
        from harness.learning.bodies import freeze

        steps = self.config.adapt_steps if len(support_images) else 0
        return freeze(
            self.adapted(support_images.detach(), support_labels, n_way, steps, first_order=True)
        )

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes; perceptrons are adapted side by side, convolutions one by one (that is faster)."""
        from harness.learning.bodies import adapt_dense

        if self.config.backbone == "conv4":
            return super().adapt_many(support_images, support_labels, n_way)
        chunks = zip(
            support_images.split(EPISODES_AT_ONCE),
            support_labels.split(EPISODES_AT_ONCE),
            strict=True,
        )
        rates = [rate.detach() if isinstance(rate, torch.Tensor) else rate for rate in self.rates()]
        parts = [
            adapt_dense(self.network, x, y, n_way, steps=self.config.adapt_steps, rates=rates)
            for x, y in chunks
        ]
        return lambda queries: torch.cat(
            [part(x) for part, x in zip(parts, queries.split(EPISODES_AT_ONCE), strict=True)]
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer of the initial weights; a convolution's are shared by all positions."""
        dense = self.config.backbone == "mlp"
        return [
            Synapses(name, w, presynaptic_sign=dense)
            for name, w in self.network.body.connections().items()
        ]


def targets(shape: EpisodeShape, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of an episode's support and query images."""
    way = torch.arange(shape.ways, device=device)
    return way.repeat_interleave(shape.shots), way.repeat_interleave(shape.queries)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of (..., n_way) whose largest is at the label."""
    return float((logits.argmax(-1) == labels).float().mean())
