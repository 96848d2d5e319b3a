"""A body trained to classify all training classes, as the Baselines of Chen et al. (2019) are."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
from pydantic import Field

from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.backbone_learner import BackboneConfig, BackboneLearner
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import accuracy, labels_of, shuffled_batches
from harness.learning.gradient_heads import GradientDescent
from harness.learning.heads import Heads
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.rng import Rng

REPORTS = 200
"""How often a training reports its progress."""


class PretrainedConfig(BackboneConfig):
    """Keys of both Baselines."""

    epochs: int = Field(10, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per training step")
    lr: float = Field(
        2e-3, gt=0, description="Adam's learning rate; falls linearly to zero during training"
    )
    head_steps: int = Field(
        100, ge=1, description="gradient steps of a few-shot head, each on the whole support set"
    )
    head_lr: float = Field(0.1, gt=0, description="learning rate of those steps")
    head_decay: float = Field(1e-3, ge=0, description="weight decay of a few-shot head")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of the body's products in training; bfloat16 is faster on "
        "processors that support it",
    )


class PretrainedLearner(FeatureLearner, BackboneLearner):
    """A body and a head trained on the cross-entropy over all training classes.

    Each episode gets a new head. Inductive: batch normalisation uses the running statistics of
    training, never those of a query batch.
    """

    typical_training_s = 600.0
    regimes = frozenset({"class_transfer"})

    config: PretrainedConfig

    def __init__(
        self, config: PretrainedConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning."""
        self.parts = self.untrained().to(self.device)
        self._share()

    def untrained(self) -> nn.ModuleDict:
        """All that training changes, by name, on the CPU: the ``body`` and the ``head``."""
        from harness.learning.bodies import embedding_width

        generator = self.rng.torch("initial weights")
        body = self.config.new_body(self.image_shape, generator)
        width = embedding_width(body.eval(), self.image_shape)
        weight = torch.randn(width, self.n_classes, generator=generator) / width**0.5
        bias = torch.zeros(1, self.n_classes)
        return nn.ModuleDict({"body": body, "head": nn.ParameterList([weight, bias])})

    @property
    def trained_body(self) -> nn.Module:
        """The body in ``self.parts``."""
        return self.part("body")

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train in mini-batches; each epoch logs its mean loss and accuracy."""
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images = torch.from_numpy(train.pixels).to(self.device)
        self._reset()
        log = TrainingLog()
        log.add(self)
        parts = self.parts.train()
        optimiser = torch.optim.Adam(parts.parameters(), lr=self.config.lr)
        total = budget.cap(self.config.epochs * len(train))
        recent: list[tuple[int, float, float]] = []
        reports = 0
        generator = self.rng.torch("order")
        for rows in shuffled_batches(len(train), self.config.batch_size, total, generator):
            rows = rows.to(self.device)
            optimiser.param_groups[0]["lr"] = self.config.lr * (1 - log.images_seen / total)
            batch = images[rows].float().div_(255)
            with self.body_draws(log.images_seen):
                loss, share = self._step(optimiser, batch, labels[rows])
            recent.append((len(rows), loss, share))
            log.images_seen += len(rows)
            log.step(self)
            if log.images_seen % len(train) == 0 or log.images_seen >= total:
                sizes, losses, shares = np.array(recent).T
                mean_loss = float(np.average(losses, weights=sizes))
                mean_accuracy = float(np.average(shares, weights=sizes))
                log.add(self, loss=mean_loss, train_accuracy=mean_accuracy)
                recent = []
            if log.images_seen * REPORTS // total > reports:
                reports = log.images_seen * REPORTS // total
                progress(log.images_seen / total, f"epoch {len(log.rows) + bool(recent)}")
        optimiser.zero_grad()
        self.fitted = True
        return log

    def _step(
        self, optimiser: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[float, float]:
        """Take one step on a batch; returns its loss and accuracy from before the step."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        ):
            embedded = self.trained_body(images)
        logits = self.training_head()(embedded.float()[None])[0]
        loss = F.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach()), accuracy(logits, labels)

    def head_parameters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (D, n_classes) and bias (1, n_classes) of the head on the training classes."""
        weight, bias = cast(nn.ParameterList, self.part("head"))
        return weight, bias

    def training_head(self) -> Heads:
        """The head on the training classes, as that of one episode."""
        weight, bias = self.head_parameters()
        return Heads(weight[None], bias[None])

    def body(self) -> nn.Module:
        """The body, frozen."""
        from harness.learning.bodies import frozen_body

        return frozen_body(self.trained_body)

    def classifier(self) -> nn.Module:
        """The network that was trained: the head on the training classes."""
        return self.training_head().on(self.body())

    def descent(self) -> GradientDescent:
        """How a few-shot head is trained."""
        config = self.config
        return GradientDescent(config.head_steps, config.head_lr, config.head_decay)

    def connectome(self) -> list[Synapses]:
        """One bundle per layer, the head's last."""
        bundles = super().connectome()
        bundles.append(Synapses("output", self.training_head().weight[0].detach()))
        return bundles
