"""A body trained to tell all training classes apart, as the Baselines of Chen et al. (2019) are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.fitting import UNLIMITED, labels_of
from harness.learning.heads import FeatureLearner, Heads
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.trained_heads import Descent
from harness.registry import Config
from harness.rng import Rng

REPORTS = 200
"""How often a training tells its progress."""


class PretrainedConfig(Config):
    """Switches that both have."""

    backbone: Literal["conv4", "mlp"] = Field(
        "conv4", description="four convolution blocks, or two ReLU layers"
    )
    width: int = Field(64, ge=1, description="filters a block, or units a layer")
    epochs: int = Field(10, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images in a training step")
    lr: float = Field(
        2e-3, gt=0, description="Adam's learning rate; falls linearly to zero during training"
    )
    head_steps: int = Field(
        100, ge=1, description="gradient steps of a few-shot head, each on the whole support set"
    )
    head_decay: float = Field(1e-3, ge=0, description="weight decay of a few-shot head")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the body's products in training; bfloat16 is faster where a processor has it",
    )


class PretrainedLearner(FeatureLearner):
    """A body and a head trained on the cross-entropy over all training classes; a new head for each episode.

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch.
    """

    typical_training_s = 200.0
    regimes = frozenset({"class_transfer"})

    config: PretrainedConfig

    def __init__(
        self, config: PretrainedConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ):
        super().__init__(config, image_shape, n_classes, rng)
        self._start()

    def _start(self) -> None:
        """An untrained network, whose tensors ``self.tensors`` shares."""
        from harness.learning.bodies import backbone

        generator, n = self.rng.torch("initial weights"), self.n_classes
        body = backbone(self.config.backbone, self.image_shape, self.config.width, generator)
        with torch.no_grad():
            width = body.eval()(torch.zeros(1, *self.image_shape)).shape[1]
        weight = torch.randn(width, n, generator=generator) / width**0.5
        self.parts = nn.ModuleDict(
            {"body": body, "head": nn.ParameterList([weight, torch.zeros(1, n)])}
        ).to(self.device)
        self.tensors = dict(self.parts.state_dict())

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state; the learner then behaves as the one that gave it."""
        super().load_state_dict(state)
        self.parts.to(self.device).load_state_dict(self.tensors)
        self.tensors = dict(self.parts.state_dict())

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Mini-batch training; a row an epoch: mean loss and accuracy over its images."""
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images, log = torch.from_numpy(train.pixels).to(self.device), TrainingLog()
        self._start()
        log.add(self)
        parts = self.parts.train()
        optimiser = torch.optim.Adam(parts.parameters(), lr=self.config.lr)
        total, recent, reports = budget.cap(self.config.epochs * len(train)), [], 0
        for rows in self._batches(len(train), total):
            optimiser.param_groups[0]["lr"] = self.config.lr * (1 - log.images_seen / total)
            recent.append(
                (len(rows), *self._step(optimiser, images[rows].float().div_(255), labels[rows]))
            )
            log.images_seen += len(rows)
            log.step(self)
            if log.images_seen % len(train) == 0 or log.images_seen >= total:
                sizes, *columns = np.array(recent).T
                loss, accuracy = (float(np.average(column, weights=sizes)) for column in columns)
                log.add(self, loss=loss, train_accuracy=accuracy)
                recent = []
            if log.images_seen * REPORTS // total > reports:
                reports = log.images_seen * REPORTS // total
                progress(log.images_seen / total, f"epoch {len(log.rows) + bool(recent)}")
        optimiser.zero_grad()
        self.fitted = True
        return log

    def _batches(self, images: int, total: int) -> Iterator[torch.Tensor]:
        """Rows of each step: every image once an epoch. A batch of one image, which has no variance, joins the one before."""
        order, seen = self.rng.torch("order"), 0
        while seen < total:
            rows = torch.randperm(images, generator=order)[: total - seen].to(self.device)
            seen += len(rows)
            batches = list(rows.split(self.config.batch_size))
            if len(batches) > 1 and len(batches[-1]) == 1:
                batches[-2:] = [torch.cat(batches[-2:])]
            yield from batches

    def _step(
        self, optimiser: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[float, float]:
        """One step on a batch; its loss and accuracy before."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        ):
            embedded = self.parts["body"](images)
        logits = self.training_head()(embedded.float()[None])[0]
        loss = F.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach()), float((logits.argmax(1) == labels).float().mean())

    def training_head(self) -> Heads:
        """The head on the training classes, as one episode's."""
        weight, bias = self.parts["head"]
        return Heads(weight[None], bias[None])

    def body(self) -> nn.Module:
        """The backbone, frozen."""
        return self.parts["body"].folded()

    def classifier(self) -> nn.Module:
        """The network that was trained: the head on the training classes."""
        return self.training_head().on(self.body())

    def descent(self) -> Descent:
        """How a few-shot head is trained."""
        return Descent(self.config.head_steps, self.config.head_lr, self.config.head_decay)

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; a convolution's weights are (inputs of one position, filters), shared by all positions."""
        dense = self.config.backbone == "mlp"
        bundles = [
            Synapses(name, w, presynaptic_sign=dense)
            for name, w in self.parts["body"].connections().items()
        ]
        return [*bundles, Synapses("output", self.training_head().weight[0].detach())]
