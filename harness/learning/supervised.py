"""Mini-batch training from labels: shared by learners that train a layered network by some rule."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from pydantic import Field

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import labels_of
from harness.learning.heads import HeadName
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    EpisodeClassifier,
    Learner,
    Progress,
    TrainingLog,
    silent,
)
from harness.registry import Config
from harness.rng import Rng

Tensors = dict[str, "torch.Tensor"]


class Rule(Protocol):
    """A learning rule that changes the tensors of one network in place."""

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step.

        Args:
            x: Images (B, C, H, W).
            y: Labels (B,).
            done: Share of training that is over, in [0, 1).

        Returns:
            The loss, a scalar, and the logits (B, n_classes), both from before the step and without
            a graph.
        """
        ...


class SupervisedConfig(Config):
    """Keys of every learner that trains in mini-batches."""

    lr: float = Field(
        1e-3, gt=0, description="learning rate; falls linearly to zero during training"
    )
    epochs: int = Field(20, ge=1, description="passes over the training set")
    batch_size: int = Field(50, ge=1, description="images per training step")
    adapt_steps: int = Field(
        25, ge=1, description="full-batch steps on a support set, from scratch"
    )
    adapt_lr: float = Field(
        1e-3, gt=0, description="learning rate of those steps, which stays constant"
    )
    head: HeadName = Field(
        "ridge", description="few-shot head on the last hidden layer, by class transfer"
    )


class SupervisedLearner(FeatureLearner):
    """A network whose tensors a rule changes in mini-batches.

    A subclass defines the untrained network (``initial``), how it learns (``rule``), what it
    computes (``network``), and which of its tensors are synapses (``connectome``).

    Few examples: from scratch, the whole network is trained on the support set, from the same
    initial weights in every episode. By class transfer, the last hidden layer is frozen and a head
    is fitted to it.
    """

    regimes = frozenset({"from_scratch", "class_transfer"})

    config: SupervisedConfig

    def __init__(
        self, config: SupervisedConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = self._untrained(n_classes)

    @abstractmethod
    def initial(self, n_out: int) -> Tensors:
        """The tensors of an untrained network with ``n_out`` outputs, on the CPU.

        Every call returns the same values.
        """

    @abstractmethod
    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule that trains a network.

        Args:
            tensors: The network's, changed in place.
            adapting: Whether it trains on a support set, in ``adapt_steps`` steps of ``adapt_lr``.
        """

    @abstractmethod
    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """A frozen module in eval mode from images to logits.

        Args:
            tensors: The network's.
            activity: Return the activity of the last hidden layer instead of logits.
        """

    def _untrained(self, n_out: int) -> Tensors:
        return {name: tensor.to(self.device) for name, tensor in self.initial(n_out).items()}

    @property
    def frozen_features(self) -> bool:
        """Whether it was fitted: from scratch, every episode trains a network of its own."""
        return self.fitted

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train in mini-batches; each epoch logs its mean loss and accuracy."""
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images = train.tensor(self.device)
        self.tensors = self._untrained(self.n_classes)
        log = TrainingLog()
        log.add(self)
        rule = self.rule(self.tensors, adapting=False)
        total = budget.cap(self.config.epochs * len(train))
        order = self.rng.torch("order")
        while log.images_seen < total:
            shuffled = torch.randperm(len(train), generator=order)
            rows = shuffled[: total - log.images_seen].to(self.device)
            loss, accuracy = self._epoch(rule, images, labels, rows, total, log)
            log.add(self, loss=loss, train_accuracy=accuracy)
            note = f"epoch {len(log.rows)}: train accuracy {accuracy:.3f}"
            progress(log.images_seen / total, note)
        self.fitted = True
        return log

    def one_pass(self, rule: Rule, part: Images, order: torch.Generator) -> TrainingLog:
        """Go on with one pass over labelled images, in mini-batches; sets ``fitted``.

        Args:
            rule: It changes ``tensors``.
            part: The images.
            order: Shuffles them.
        """
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        images = part.tensor(self.device)
        rows = torch.randperm(len(part), generator=order).to(self.device)
        log = TrainingLog()
        loss, accuracy = self._epoch(rule, images, labels, rows, len(part), log)
        log.rows.append({"loss": loss, "train_accuracy": accuracy})
        self.fitted = True
        return log

    def _epoch(
        self,
        rule: Rule,
        images: torch.Tensor,
        labels: torch.Tensor,
        rows: torch.Tensor,
        total: int,
        log: TrainingLog,
    ) -> tuple[float, float]:
        """One pass over ``rows``; returns its mean loss and accuracy."""
        # Sums stay on the device: reading them in each step would wait for the GPU.
        loss_sum = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        for batch in rows.split(self.config.batch_size):
            loss, logits = rule.step(images[batch], labels[batch], log.images_seen / total)
            log.images_seen += len(batch)
            log.step(self)
            loss_sum += loss * len(batch)
            correct += (logits.argmax(1) == labels[batch]).sum()
        return float(loss_sum) / len(rows), float(correct) / len(rows)

    def classifier(self) -> nn.Module:
        """The network."""
        return self.network(self.tensors)

    def body(self) -> nn.Module:
        """The network up to the activity of its last hidden layer."""
        return self.network(self.tensors, activity=True)

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """A head on the frozen hidden layer or, before ``fit``, a network trained from scratch."""
        if self.fitted:
            return super().adapt(support_images, support_labels, n_way)
        images = support_images.detach()
        tensors = self._untrained(n_way)
        rule = self.rule(tensors, adapting=True)
        for step in range(self.config.adapt_steps):
            rule.step(images, support_labels, step / self.config.adapt_steps)
        return self.network(tensors)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes.

        From scratch they are trained one by one: the weights of one network fit in the cache.
        """
        if self.fitted:
            return super().adapt_many(support_images, support_labels, n_way)
        return Learner.adapt_many(self, support_images, support_labels, n_way)
