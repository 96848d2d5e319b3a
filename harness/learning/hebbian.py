"""Learners whose hidden layer learns from images alone, before a linear read-out learns labels."""

from __future__ import annotations

import math
from abc import abstractmethod

from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import balanced_rows, unlabelled_error
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.optimisers import ProximalOptimiser
from harness.registry import Config
from harness.rng import Rng

CODE_BATCH = 512
READOUT_BATCH = 100


class HebbianConfig(Config):
    """Keys of every Hebbian learner with a linear read-out."""

    hidden: int = Field(2000, ge=2, description="hidden neurons")
    epochs: int = Field(
        20, ge=1, description="passes over the training images for the hidden layer"
    )
    batch_size: int = Field(100, ge=1, description="images per step of the hidden layer")
    lr: float = Field(0.02, gt=0, description="rate of the hidden layer; falls linearly to zero")
    readout_epochs: int = Field(20, ge=1, description="passes of the read-out over the codes")
    readout_lr: float = Field(
        1e-2, gt=0, description="Adam's rate for the read-out; falls linearly to zero"
    )
    head: HeadName = Field("ridge", description="few-shot head on the code")


class HebbianLearner(FeatureLearner):
    """A hidden layer ``weight`` (n, hidden) that learns from images, and a linear read-out.

    A subclass defines the initial weights (``start``), one step of learning (``learn``) and the
    ``code``. The read-out is trained by gradient descent. Few examples: a head on the frozen code.
    """

    regimes = frozenset({"semi_supervised", "class_transfer"})

    config: HebbianConfig

    def __init__(
        self, config: HebbianConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    @abstractmethod
    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Initial weights (n, hidden)."""

    @abstractmethod
    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Take one step, in place.

        Args:
            weight: (n, hidden).
            x: A batch of flat images (B, n).
            done: Share of the hidden layer's training that is over.
        """

    @abstractmethod
    def code(self, weight: torch.Tensor) -> nn.Module:
        """Images (B, C, H, W) to the code (B, hidden), frozen and in eval mode."""

    def _reset(self) -> None:
        """Return to the state before learning."""
        hidden = self.config.hidden
        n = math.prod(self.image_shape)
        self.tensors = {
            "weight": self.start(n, self.rng.torch("initial weights")).to(self.device),
            "scale": torch.ones(1, device=self.device),
            "readout": torch.zeros(hidden, self.n_classes, device=self.device),
            "readout_bias": torch.zeros(1, self.n_classes, device=self.device),
        }
        self.fitted = False

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train the hidden layer on images alone, then the read-out if there are labels.

        The budget counts an image each time that the hidden layer sees it, and once more for the
        code that the read-out learns from.
        """
        self._reset()
        log = TrainingLog()
        log.add(self)
        hidden_images, readout_images = self._split_budget(train, budget)
        with torch.no_grad():
            images = train.tensor(self.device)
            self._fit_hidden(images.flatten(1), hidden_images, log, progress)
            if train.labels is None:
                # The read-out was never trained, so there is no classifier.
                del self.tensors["readout"]
                del self.tensors["readout_bias"]
            else:
                chosen = balanced_rows(train.labels, readout_images, self.rng)
                rows = torch.from_numpy(chosen).to(self.device)
                labels = torch.from_numpy(train.labels).to(self.device)
                self._fit_readout(images[rows], labels[rows], log, progress)
        self.fitted = True
        progress(1.0, "")
        return log

    def _split_budget(self, train: Images, budget: Budget) -> tuple[int, int]:
        """Images for the hidden layer, repeats counted, and images for the read-out.

        If the budget is too small for both, the read-out takes up to half of it.
        """
        hidden = self.config.epochs * len(train)
        labelled = len(train) if train.labels is not None else 0
        total = budget.cap(hidden + labelled)
        readout = min(labelled, max(1, total // 2, total - hidden))
        return max(1, total - readout), readout

    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        order = self.rng.torch("order")
        weight = self.tensors["weight"]
        while log.images_seen < total:
            shuffled = torch.randperm(len(images), generator=order)
            rows = shuffled[: total - log.images_seen].to(self.device)
            for batch in rows.split(self.config.batch_size):
                self.learn(weight, images[batch], log.images_seen / total)
                log.images_seen += len(batch)
                log.step(self)
            log.add(self, weight_norm=float(weight.norm(dim=0).mean()))
            progress(0.8 * log.images_seen / total, f"hidden layer, epoch {len(log.rows)}")
        self.tensors["weight"] = weight.contiguous()

    def _fit_readout(
        self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        """Train by Adam on the cross-entropy; codes are scaled to a mean square of one."""
        codes = in_batches(self.code(self.tensors["weight"]), images, batch_size=CODE_BATCH)
        root_mean_square = codes.square().mean().sqrt().clamp_min(1e-30)
        self.tensors["scale"] = root_mean_square.reciprocal().view(1)
        weight = torch.zeros_like(self.tensors["readout"])
        bias = torch.zeros_like(self.tensors["readout_bias"])
        optimiser = ProximalOptimiser([weight, bias], optimiser="adam", lr=self.config.readout_lr)
        order = self.rng.torch("read-out order")
        epochs = self.config.readout_epochs
        correct = 0
        for epoch in range(epochs):
            correct = 0
            shuffled = torch.randperm(len(codes), generator=order).to(self.device)
            batches = shuffled.split(READOUT_BATCH)
            for i, rows in enumerate(batches):
                x = codes[rows] * self.tensors["scale"]
                y = labels[rows]
                logits = x @ weight + bias
                error = (torch.softmax(logits, 1) - F.one_hot(y, self.n_classes)) / len(rows)
                done = (epoch + i / len(batches)) / epochs
                optimiser.step([x.T @ error, error.sum(0, keepdim=True)], 1 - done)
                correct += int((logits.argmax(1) == y).sum())
            progress(0.8 + 0.2 * (epoch + 1) / epochs, "read-out")
        self.tensors["readout"] = weight
        self.tensors["readout_bias"] = bias
        log.images_seen += len(codes)
        log.add(self, train_accuracy=correct / len(codes))

    def body(self) -> nn.Module:
        """Images to the code."""
        return self.code(self.tensors["weight"])

    def classifier(self) -> nn.Module:
        """The read-out of the code.

        Raises:
            HarnessError: It was not trained on labels.
        """
        from harness.learning.nets import LinearHead

        if "readout" not in self.tensors:
            raise unlabelled_error(self.kind)
        weight = self.tensors["scale"] * self.tensors["readout"]
        return LinearHead(self.body(), weight, self.tensors["readout_bias"])

    def connectome(self) -> list[Synapses]:
        """The hidden layer, and the read-out if it was trained."""
        bundles = [Synapses("input->hidden", self.tensors["weight"])]
        if "readout" in self.tensors:
            bundles.append(Synapses(READOUT, self.tensors["readout"]))
        return bundles
