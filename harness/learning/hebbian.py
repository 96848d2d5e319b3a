"""Learners whose hidden layer learns from images alone, before a linear read-out learns labels."""

from __future__ import annotations

import math
from abc import abstractmethod

from pydantic import Field

from harness.batching import in_batches
from harness.lazy import F, nn, torch
from harness.learning.connectome import READOUT
from harness.learning.fitting import unlabelled_error
from harness.learning.learner import Progress, Synapses, TrainingLog
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.unsupervised import UnsupervisedConfig, UnsupervisedLearner

CODE_BATCH = 512
READOUT_BATCH = 100


class HebbianConfig(UnsupervisedConfig):
    """Keys of every Hebbian learner with one hidden layer."""

    hidden: int = Field(2000, ge=2, description="hidden neurons")


class HiddenLayer(UnsupervisedLearner):
    """A hidden layer ``weight`` (n, hidden) that learns from images, and a linear read-out.

    A subclass defines the initial weights (``start``), how they learn (``_fit_hidden``) and the
    ``code``. The read-out is trained by gradient descent.
    """

    config: HebbianConfig

    @abstractmethod
    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Initial weights (n, hidden)."""

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

    def _fit_readout(
        self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        codes = in_batches(self.code(self.tensors["weight"]), images, batch_size=CODE_BATCH)
        self._read_out(codes, labels, log, progress)

    def _read_out(
        self, codes: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        """Train by Adam on the cross-entropy; codes are scaled to a mean square of one."""
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


class HebbianLearner(HiddenLayer):
    """A hidden layer that learns from one batch of images after the other, by ``learn``."""

    @abstractmethod
    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Take one step, in place.

        Args:
            weight: (n, hidden).
            x: A batch of flat images (B, n).
            done: Share of the hidden layer's training that is over.
        """

    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        images = images.flatten(1)
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


def soft_code(images: torch.Tensor, tensors: dict[str, torch.Tensor], tau: float) -> torch.Tensor:
    """softmax(w . x / tau) of images (B, C, H, W), brought to length one."""
    x = F.normalize(images.flatten(1), dim=1)
    return torch.softmax(x @ tensors["weight"] / tau, 1)
