"""Meta-learning by gradient steps: MAML, its simplifications and Reptile.

The inner steps are learn2learn's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from pydantic import Field

from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.backbone_learner import (
    BackboneLearner,
    EpisodeConfig,
    body_field,
    requested_shape,
    steps_within,
)
from harness.learning.body import ChosenBody
from harness.learning.fitting import (
    EpisodeShape,
    accuracy,
    balanced_rows,
    episode_targets,
    labels_of,
    training_episodes,
)
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    EpisodeClassifier,
    Progress,
    TrainingLog,
    silent,
)
from harness.rng import Rng

if TYPE_CHECKING:  # ``inner_loop`` imports torch
    from harness.learning.inner_loop import AdaptableNetwork

SUPPORT_IMAGES = 2000
"""Images, at most, that ``classifier()`` adapts to."""

EPISODES_AT_ONCE = 32
"""Episodes for which a perceptron is adapted together."""

Episode = tuple["torch.Tensor", "torch.Tensor"]
"""Support images (ways * shots, C, H, W) and query images (ways * queries, C, H, W), by class."""


class InnerConfig(EpisodeConfig):
    """Keys of every learner that adapts by gradient steps."""

    body: ChosenBody = body_field("mlp")
    train_ways: int = Field(
        5, ge=2, description="classes in a training episode, or all if there are fewer"
    )
    inner_steps: int = Field(5, ge=1, description="gradient steps on the support set in training")
    inner_lr: float = Field(
        0.1, gt=0, description="learning rate of those steps, in training and after"
    )
    adapt_steps: int = Field(
        5, ge=1, description="gradient steps on the support set after training"
    )
    meta_batch: int = Field(4, ge=1, description="episodes per step on the initial weights")
    iterations: int = Field(500, ge=1, description="steps on the initial weights")
    lr: float = Field(
        2e-3, gt=0, description="Adam's learning rate of those steps; falls linearly to zero"
    )
    classifier_shots: int = Field(
        20, ge=1, description="training images per class that classifier() adapts to"
    )


class MetaConfig(InnerConfig):
    """Keys of learners whose outer loss is that of query images."""

    train_queries: int = Field(5, ge=1, description="query images per class in a training episode")


class MetaLearner(BackboneLearner):
    """Initial weights that a few gradient steps on a support set turn into a classifier.

    Inductive: bodies have group normalisation instead of batch normalisation, so no statistic of a
    query batch, or of another image, is used. (Most published figures use batch normalisation over
    the query batch, i.e. are transductive.) For the same reason bodies drop nothing.

    The output layer starts at zero, so that one trained model adapts to any number of ways; only
    the body is learned. (UNICORN-MAML, Ye & Chao 2022, starts it from one learned column that all
    classes share. Under a softmax this is equivalent: a term added to every class changes no loss,
    and the column's meta-gradient is zero.)

    As a plain classifier it is adapted to a class-balanced sample of the training set, with
    ``classifier_shots`` images per class.
    """

    typical_training_s = 35.0
    requires = "learn2learn"
    mini_batches = False
    regimes = frozenset({"class_transfer"})
    first_order: ClassVar[bool] = False
    """Whether training ignores how the inner steps depend on the initial weights."""

    config: InnerConfig

    def __init__(
        self, config: InnerConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning."""
        self.parts = self.untrained().to(self.device)
        self._share(
            support_pixels=torch.zeros(0, *self.image_shape, dtype=torch.uint8, device=self.device),
            support_labels=torch.zeros(0, dtype=torch.int64, device=self.device),
        )

    def untrained(self) -> nn.ModuleDict:
        """All that training changes, by name, on the CPU: here the ``network``."""
        from harness.learning.bodies import without_batch_statistics
        from harness.learning.inner_loop import AdaptableNetwork

        body = self.config.new_body(self.image_shape, self.rng.torch("initial weights"))
        # Nothing is dropped: an adapted network must not depend on what is drawn.
        body = without_batch_statistics(body).eval()
        return nn.ModuleDict({"network": AdaptableNetwork(body, self.image_shape)})

    @property
    def network(self) -> AdaptableNetwork:
        """The network before any adaptation."""
        return cast("AdaptableNetwork", self.part("network"))

    @property
    def trained_body(self) -> nn.Module:
        """The body in ``self.parts``."""
        return self.network.body

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Learn the initial weights from episodes of the training classes."""
        labels = labels_of(train, self)
        config = self.config
        shape = EpisodeShape.within(train, self.requested_shape())
        per_step = shape.images * config.meta_batch
        total = steps_within(budget.cap(config.iterations * per_step), per_step)
        self._reset()
        log = TrainingLog()
        log.add(self)
        self.log_training(
            self._train(train, shape, total),
            total,
            images=per_step,
            unit="iteration",
            log=log,
            progress=progress,
        )
        self._keep_support(train, labels)
        self.fitted = True
        return log

    def _keep_support(self, train: Images, labels: np.ndarray) -> None:
        """Keep the class-balanced sample that ``classifier()`` adapts to."""
        count = min(SUPPORT_IMAGES, self.config.classifier_shots * self.n_classes)
        rows = balanced_rows(labels, count, self.rng.child("support of the classifier"))
        support = train.take(rows)
        self._share(
            support_pixels=torch.from_numpy(support.pixels).to(self.device),
            support_labels=torch.from_numpy(labels[rows]).to(self.device),
        )

    def requested_shape(self) -> EpisodeShape:
        """The size of training episodes that the config asks for."""
        return requested_shape(self.config, cast(MetaConfig, self.config).train_queries)

    def _train(
        self, train: Images, shape: EpisodeShape, total: int
    ) -> Iterator[tuple[float, float]]:
        """Train the parts in place; yields the mean loss and accuracy of each meta-batch."""
        config = self.config
        optimiser = self.outer()
        images = torch.from_numpy(train.pixels).to(self.device)
        episodes = training_episodes(
            train, shape, total * config.meta_batch, self.rng.child("training episodes")
        )

        def taken(rows: np.ndarray) -> torch.Tensor:
            return images[torch.from_numpy(rows).to(self.device)].float() / 255

        for i in range(total):
            batch = []
            for _ in range(config.meta_batch):
                support_rows, query_rows = next(episodes)
                batch.append((taken(support_rows), taken(query_rows)))
            optimiser.param_groups[0]["lr"] = config.lr * (1 - i / total)
            optimiser.zero_grad()
            outcome = self.meta_gradient(batch, shape, i)
            optimiser.step()
            yield outcome
        optimiser.zero_grad()

    def outer(self) -> torch.optim.Optimizer:
        """The optimiser of the initial weights."""
        return torch.optim.Adam(self.parts.parameters(), lr=self.config.lr)

    def meta_gradient(
        self, batch: Sequence[Episode], shape: EpisodeShape, iteration: int
    ) -> tuple[float, float]:
        """Leave the gradient of the mean query loss after adaptation in ``.grad``.

        Args:
            batch: Episodes of one step on the initial weights.
            shape: Size of each episode.
            iteration: Number of the step.

        Returns:
            Mean query loss and accuracy after adaptation.
        """
        support_labels, query_labels = episode_targets(shape, self.device)
        losses = []
        accuracies = []
        for support, queries in batch:
            adapted = self.adapted(
                support,
                support_labels,
                shape.ways,
                self.config.inner_steps,
                first_order=self.first_order,
            )
            logits = adapted(queries)
            loss = F.cross_entropy(logits, query_labels)
            (loss / len(batch)).backward()
            losses.append(float(loss.detach()))
            accuracies.append(accuracy(logits, query_labels))
        return float(np.mean(losses)), float(np.mean(accuracies))

    def adapted(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        n_way: int,
        steps: int,
        *,
        first_order: bool,
    ) -> nn.Module:
        """A clone of the network with n_way outputs, after gradient steps on the cross-entropy."""
        clone = self.clone(n_way)
        with torch.enable_grad():
            for _ in range(steps):
                clone.adapt(F.cross_entropy(clone(images), labels), first_order=first_order)
        return clone.module

    def clone(self, n_way: int) -> Any:
        """A learn2learn clone of the network with n_way outputs."""
        from harness.imports import import_learn2learn
        from harness.learning.inner_loop import add_outputs

        maml = import_learn2learn().algorithms.MAML
        with torch.enable_grad():
            clone = maml(self.network, lr=self.config.inner_lr).clone()
            add_outputs(clone.module, n_way)
        return clone

    def rates(self) -> list[torch.Tensor | float]:
        """Step sizes of the output weight and bias, then of the body's parameters.

        Those of the output broadcast over ways.
        """
        return [self.config.inner_lr] * (2 + len(list(self.network.parameters())))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The body's output before any adaptation."""
        from harness.learning.bodies import freeze

        return freeze(copy.deepcopy(self.network.body))(images)

    def classifier(self) -> nn.Module:
        """The network, adapted to the sample that ``fit`` kept; not adapted before ``fit``."""
        images = self.tensors["support_pixels"].float() / 255
        return self.adapt(images, self.tensors["support_labels"], self.n_classes)

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """``adapt_steps`` gradient steps on the support set, from the learned initial weights."""
        from harness.learning.bodies import freeze

        steps = self.config.adapt_steps if len(support_images) else 0
        # No gradient is taken through the steps, so first order is exact.
        network = self.adapted(
            support_images.detach(), support_labels, n_way, steps, first_order=True
        )
        return freeze(network)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes: perceptrons together, convolutions faster one by one."""
        from harness.learning.bodies import Dense
        from harness.learning.inner_loop import adapt_dense

        if not isinstance(self.network.body, Dense):
            return super().adapt_many(support_images, support_labels, n_way)
        rates = [rate.detach() if isinstance(rate, torch.Tensor) else rate for rate in self.rates()]
        parts = [
            adapt_dense(
                self.network, images, labels, n_way, steps=self.config.adapt_steps, rates=rates
            )
            for images, labels in zip(
                support_images.split(EPISODES_AT_ONCE),
                support_labels.split(EPISODES_AT_ONCE),
                strict=True,
            )
        ]

        def classify(queries: torch.Tensor) -> torch.Tensor:
            chunks = queries.split(EPISODES_AT_ONCE)
            return torch.cat([part(x) for part, x in zip(parts, chunks, strict=True)])

        return classify
