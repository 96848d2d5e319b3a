"""What learners share whose hidden layer learns from images alone, before a linear read-out learns from labels."""

from __future__ import annotations

import math
from abc import abstractmethod

from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images
from harness.errors import HarnessError
from harness.lazy import F, nn, torch
from harness.learning.fitting import UNLIMITED, balanced_rows
from harness.learning.heads import FeatureLearner, HeadName
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.registry import Config
from harness.rng import Rng

CODE_BATCH, READOUT_BATCH = 512, 100


class HebbianConfig(Config):
    """Keys that they share."""

    hidden: int = Field(2000, ge=2, description="hidden neurons")
    epochs: int = Field(
        20, ge=1, description="passes over the training images for the hidden layer"
    )
    batch_size: int = Field(100, ge=1, description="images in a step of the hidden layer")
    lr: float = Field(0.02, gt=0, description="rate of the hidden layer; falls linearly to zero")
    readout_epochs: int = Field(20, ge=1, description="passes of the read-out over the codes")
    readout_lr: float = Field(
        1e-2, gt=0, description="Adam's rate for the read-out; falls linearly to zero"
    )
    head: HeadName = Field("ridge", description="few-shot head on the code")


class HebbianLearner(FeatureLearner):
    """A hidden layer ``weight`` (n, hidden) that learns from images, and a linear read-out by gradient descent.

    A subclass gives young weights (``start``), one step of learning (``learn``) and the ``code``. Few examples: a head on the
    frozen code.
    """

    regimes = frozenset({"semi_supervised", "class_transfer"})

    config: HebbianConfig

    def __init__(
        self, config: HebbianConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ):
        super().__init__(config, image_shape, n_classes, rng)
        self._begin()

    @abstractmethod
    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Young weights (n, hidden)."""

    @abstractmethod
    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """One step on a batch (B, n), in place, when the share ``done`` of the hidden layer's training is over."""

    @abstractmethod
    def code(self, weight: torch.Tensor) -> nn.Module:
        """Images (B, C, H, W) to the code (B, hidden), frozen and in eval mode."""

    def _begin(self) -> None:
        hidden, n = self.config.hidden, math.prod(self.image_shape)
        self.tensors = {
            "weight": self.start(n, self.rng.torch("initial weights")).to(self.device),
            "scale": torch.ones(1, device=self.device),
            "readout": torch.zeros(hidden, self.n_classes, device=self.device),
            "readout_bias": torch.zeros(1, self.n_classes, device=self.device),
        }
        self.fitted = False

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """The hidden layer from images alone; then, where there are labels, the read-out.

        Against the budget each look of the hidden layer at an image counts, and one more for the code that is read out.
        """
        self._begin()
        log = TrainingLog()
        log.add(self)
        wanted, labelled = (
            self.config.epochs * len(train),
            len(train) if train.labels is not None else 0,
        )
        left = budget.cap(wanted + labelled)
        share = min(labelled, max(1, left // 2, left - wanted))
        with torch.no_grad():
            images = train.tensor(self.device)
            self._fit_hidden(images.flatten(1), max(1, left - share), log, progress)
            if train.labels is None:
                del (
                    self.tensors["readout"],
                    self.tensors["readout_bias"],
                )  # never learned: there is no classifier
            else:
                rows = torch.from_numpy(balanced_rows(train.labels, share, self.rng)).to(
                    self.device
                )
                self._fit_readout(
                    images[rows],
                    torch.from_numpy(train.labels).to(self.device)[rows],
                    log,
                    progress,
                )
        self.fitted = True
        progress(1.0, "")
        return log

    def _fit_hidden(
        self, images: torch.Tensor, looks: int, log: TrainingLog, progress: Progress
    ) -> None:
        order = self.rng.torch("order")
        while log.images_seen < looks:
            rows = torch.randperm(len(images), generator=order)[: looks - log.images_seen].to(
                self.device
            )
            for batch in rows.split(self.config.batch_size):
                self.learn(self.tensors["weight"], images[batch], log.images_seen / looks)
                log.images_seen += len(batch)
                log.step(self)
            log.add(self, weight_norm=self.tensors["weight"].norm(dim=0).mean())
            progress(0.8 * log.images_seen / looks, f"hidden layer, epoch {len(log.rows)}")
        self.tensors["weight"] = self.tensors["weight"].contiguous()

    def _fit_readout(
        self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        """Adam on the cross-entropy of the codes, which are scaled to a mean square of one an active unit."""
        from harness.learning.optimisers import Descent

        codes = in_batches(self.code(self.tensors["weight"]), images, batch_size=CODE_BATCH)
        self.tensors["scale"] = codes.square().mean().sqrt().clamp_min(1e-30).reciprocal().view(1)
        readout = [
            torch.zeros_like(self.tensors["readout"]),
            torch.zeros_like(self.tensors["readout_bias"]),
        ]
        descent, order = (
            Descent(readout, optimiser="adam", lr=self.config.readout_lr),
            self.rng.torch("read-out order"),
        )
        for epoch in range(self.config.readout_epochs):
            right = 0
            batches = (
                torch.randperm(len(codes), generator=order).to(self.device).split(READOUT_BATCH)
            )
            for i, rows in enumerate(batches):
                x, y = codes[rows] * self.tensors["scale"], labels[rows]
                logits = x @ readout[0] + readout[1]
                error = (torch.softmax(logits, 1) - F.one_hot(y, self.n_classes)) / len(rows)
                done = (epoch + i / len(batches)) / self.config.readout_epochs
                descent.step([x.T @ error, error.sum(0, keepdim=True)], 1 - done)
                right += int((logits.argmax(1) == y).sum())
            progress(0.8 + 0.2 * (epoch + 1) / self.config.readout_epochs, "read-out")
        self.tensors |= {"readout": readout[0], "readout_bias": readout[1]}
        log.images_seen += len(codes)
        log.add(self, train_accuracy=right / len(codes))

    def body(self) -> nn.Module:
        """Images to the code."""
        return self.code(self.tensors["weight"])

    def classifier(self) -> nn.Module:
        """The read-out on the code.

        Raises:
            HarnessError: it was not trained on labels.
        """
        from harness.learning.nets import HeadOn

        if "readout" not in self.tensors:
            raise HarnessError(
                f"this {self.kind} learner was trained without labels and has no classifier",
                hint="use adapt() with a support set, or fit it on labelled images",
            )
        return HeadOn(
            self.body(),
            self.tensors["scale"] * self.tensors["readout"],
            self.tensors["readout_bias"],
        )

    def connectome(self) -> list[Synapses]:
        """The hidden layer, and the read-out where there is one."""
        hidden = [Synapses("input->hidden", self.tensors["weight"])]
        return (
            [*hidden, Synapses("hidden->output", self.tensors["readout"])]
            if "readout" in self.tensors
            else hidden
        )
