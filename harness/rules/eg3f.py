"""EG-3F: exponentiated three-factor learning, end to end and driven by the error (a reconstruction, our Variant II).

All plastic weights are excitatory and change by w <- w exp(delta) alone, so that no step can change a sign; inhibition is
the mean drive of each layer, a pool of uniform non-plastic weight. The log-step of a synapse is presynaptic activity times
the error that reaches the postsynaptic neuron, divided by a running RMS of the neuron's own drives, less a cost of
maintenance. The exponentiated form is published by Cornford et al. (2024); the combination, the normalisation and the
numbers are this project's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import UNLIMITED, labels_of
from harness.learning.heads import FeatureLearner, HeadName
from harness.learning.learner import (
    Budget,
    EpisodeClassifier,
    Progress,
    Synapses,
    TrainingLog,
    silent,
)
from harness.registry import Config, learners
from harness.rng import Rng
from harness.rules import readouts as readout

MEMORY, FLOOR = 0.99, 0.3
"""Decay of the running mean square a step; no neuron's RMS counts as less than this share of its layer's mean."""


@learners.register("eg-3f")
class Eg3f(FeatureLearner):
    """Exponentiated three-factor rule: excitatory layers trained by the error, one or more (reconstruction)."""

    regimes = frozenset({"from_scratch", "class_transfer"})

    class Config(Config):
        """Every ingredient has a switch: a rate of 0, or null, turns it off."""

        hidden: Annotated[int, Field(ge=2)] | list[Annotated[int, Field(ge=2)]] = Field(
            200, description="units in the hidden layer, or a list with one entry a layer"
        )
        winners: int | None = Field(
            None, ge=1, description="k of a k-winners-take-all; null: a rectifier alone"
        )
        feedback: Literal["v", "random"] = Field(
            "v",
            description="what carries the error down: the weights themselves, or fixed random ones",
        )
        eta: float = Field(
            0.02, gt=0, le=1, description="rate, in RMS units of log w; falls linearly to zero"
        )
        cost: float = Field(
            0.1, ge=0, description="maintenance cost l of hidden synapses, in the same units"
        )
        output_cost: float = Field(0.05, ge=0, description="maintenance cost of output synapses")
        noise: float = Field(0.0, ge=0, le=0.5, description="spine noise in log w, per step")
        clip: float = Field(0.3, gt=0, le=1, description="largest step in log w")
        epochs: int = Field(15, ge=1, description="passes over the training set")
        batch: int = Field(50, ge=1, description="images a step")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )
        head: HeadName = Field(
            "ridge", description="few-shot head on the last hidden layer, by class transfer"
        )

    config: Config

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = _named(self._young(n_classes))

    @property
    def frozen_features(self) -> bool:
        """Once fitted: from scratch, every episode has a network of its own."""
        return self.fitted

    def _young(self, classes: int, networks: int = 1) -> list[torch.Tensor]:
        """W ~ U(0.01, 0.1), twice that at the output: (E, n_in, n_out) a layer; networks start alike."""
        hidden = (
            self.config.hidden if isinstance(self.config.hidden, list) else [self.config.hidden]
        )
        sizes = [int(torch.Size(self.image_shape).numel()), *hidden, classes]
        generator = self.rng.torch("weights")
        weights = [
            0.01 + 0.09 * torch.rand(a, b, generator=generator)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        weights[-1] *= 2
        return [w.to(self.device).repeat(networks, 1, 1) for w in weights]

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Mini-batch training; a row an epoch: accuracy over its batches."""
        labels, config = torch.from_numpy(labels_of(train, self)).to(self.device), self.config
        images, log = train.tensor(self.device).flatten(1), TrainingLog()
        weights = self._young(self.n_classes)
        self.tensors = _named(weights)
        log.add(self)
        course = _Course(self, weights)
        total, order = budget.cap(config.epochs * len(train)), self.rng.torch("order")
        with torch.no_grad():
            while log.images_seen < total:
                rows, correct, before = (
                    torch.randperm(len(train), generator=order).to(self.device),
                    0,
                    log.images_seen,
                )
                for batch in rows[: total - log.images_seen].split(config.batch):
                    fade = 1 - log.images_seen / total
                    logits = course.step(
                        images[batch].unsqueeze(0), labels[batch].unsqueeze(0), fade
                    )
                    correct += int((logits[0].argmax(1) == labels[batch]).sum())
                    log.images_seen += len(batch)
                    log.step(self)
                log.add(self, train_accuracy=correct / (log.images_seen - before))
                progress(log.images_seen / total, f"epoch {len(log.rows)}")
        self.fitted = True
        return log

    # ------------------------------------------------------------------------------------------------- reading

    def _weights(self) -> list[torch.Tensor]:
        """The layers' weights, (n_in, n_out) each, the output's last."""
        return [self.tensors[f"W{depth}"][0] for depth in range(len(self.tensors))]

    def body(self) -> nn.Module:
        """The hidden layers."""
        from harness.rules.modules.excitatory import ExcitatoryPerceptron

        return ExcitatoryPerceptron(self._weights()[:-1], self.config.winners).eval()

    def classifier(self) -> nn.Module:
        """The hidden layers and the output."""
        return self._classifier(self._weights())

    def _classifier(self, weights: Sequence[torch.Tensor]) -> nn.Module:
        from harness.rules.modules.competitive import ExcitatoryReadout
        from harness.rules.modules.excitatory import ExcitatoryPerceptron

        return nn.Sequential(
            ExcitatoryPerceptron([w.clone() for w in weights[:-1]], self.config.winners),
            ExcitatoryReadout(weights[-1].clone(), 1.0),
        ).eval()

    def connectome(self) -> list[Synapses]:
        weights = self._weights()
        names = [*(f"layer {depth}" for depth in range(1, len(weights))), "hidden->output"]
        return [Synapses(name, weight) for name, weight in zip(names, weights, strict=True)]

    # ------------------------------------------------------------------------------------------------ adapting

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """Fitted: a head on the frozen hidden layer. Not fitted: the whole network learns from the support set."""
        if self.fitted:
            return super().adapt(support_images, support_labels, n_way)
        return self._classifier(
            [
                w[0]
                for w in self._learned(
                    support_images.unsqueeze(0), support_labels.unsqueeze(0), n_way
                )
            ]
        )

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """All episodes side by side."""
        if self.fitted:
            return super().adapt_many(support_images, support_labels, n_way)
        return self._classifier(self._learned(support_images, support_labels, n_way))

    def _learned(
        self, images: torch.Tensor, labels: torch.Tensor, n_way: int
    ) -> list[torch.Tensor]:
        weights = self._young(n_way, len(images))
        course, steps = _Course(self, weights), self.config.adapt_steps
        with torch.no_grad():
            for step in range(steps):
                course.step(images.flatten(2), labels, 1 - step / steps)
        return weights


class _Course:
    """The training of E networks side by side: their weights, changed in place, and each neuron's running mean square."""

    def __init__(self, learner: Eg3f, weights: list[torch.Tensor]):
        self.config, self.weights, self.steps = learner.config, weights, 0
        self.square = [torch.zeros(len(w), 1, w.shape[2], device=w.device) for w in weights]
        self.noise = learner.rng.torch("noise")
        self.feedback = None
        if learner.config.feedback == "random":
            generator = learner.rng.torch("feedback")
            self.feedback = [
                torch.randn(w.shape[1:], generator=generator).to(w.device) for w in weights
            ]

    def step(self, images: torch.Tensor, labels: torch.Tensor, fade: float) -> torch.Tensor:
        """One step on (E, B, n) and (E, B); the logits (E, B, classes) before it."""
        from harness.rules.modules.excitatory import activity

        activities = [images]
        for weight in self.weights[:-1]:
            activities.append(activity(torch.bmm(activities[-1], weight), self.config.winners))
        logits = readout.logits(activities[-1], self.weights[-1], 1.0)
        error = readout.one_hot(labels, logits.shape[2]) - torch.softmax(logits, 2)
        self.steps += 1
        for depth in reversed(range(len(self.weights))):
            drive = torch.bmm(activities[depth].transpose(1, 2), error) / images.shape[1]
            if depth:
                error = self._sent_down(depth, error, activities[depth])
            self._grow(depth, drive, fade)
        return logits

    def _sent_down(self, depth: int, error: torch.Tensor, activity: torch.Tensor) -> torch.Tensor:
        """The error that reaches the neurons below layer ``depth``: centred, and only where they are active."""
        error = error - error.mean(2, keepdim=True)
        back = (
            self.weights[depth].transpose(1, 2)
            if self.feedback is None
            else self.feedback[depth].T.expand(len(error), -1, -1)
        )
        down = torch.bmm(error, back) * (activity > 0)
        return down - down.mean(2, keepdim=True)

    def _grow(self, depth: int, drive: torch.Tensor, fade: float) -> None:
        """W <- w exp(eta f (drive / rms - l))."""
        config, square = self.config, self.square[depth]
        square.mul_(MEMORY).add_(drive.square().mean(1, keepdim=True), alpha=1 - MEMORY)
        rms = (square / (1 - MEMORY**self.steps)).sqrt()
        rms = torch.maximum(rms, FLOOR * rms.mean(2, keepdim=True)).clamp_min(1e-12)
        cost = config.output_cost if depth + 1 == len(self.weights) else config.cost
        change = (drive / rms).sub_(cost).mul_(config.eta * fade)
        if config.noise:
            change += config.noise * torch.randn(change.shape[1:], generator=self.noise).to(
                change.device
            )
        self.weights[depth].mul_(change.clamp_(-config.clip, config.clip).exp_())


def _named(weights: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"W{depth}": weight for depth, weight in enumerate(weights)}
