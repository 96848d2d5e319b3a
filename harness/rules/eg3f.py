"""EG-3F: exponentiated three-factor learning, driven by the error through all layers.

A reconstruction (our Variant II). All plastic weights are excitatory and change only by
w <- w exp(D), so no step can change a sign. Inhibition is the mean drive of each layer: a pool of
uniform, non-plastic weight.

With x the presynaptic activity and e the error that reaches the postsynaptic neuron, a batch gives
the drive G_ij = <x_i e_j>, and the log-step is

    D_ij = eta f (G_ij / r_j - l) + nu xi_ij

where r_j is a running RMS of the neuron's own drives, l the cost of maintenance, nu the spine noise
(xi is normal), and f falls from 1 to 0 during training. The exponentiated form is published by
Cornford et al. (2024). The combination, the normalisation and the numbers are this project's
choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from harness import registry
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import labels_of
from harness.learning.heads import HeadName
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    EpisodeClassifier,
    Progress,
    Synapses,
    TrainingLog,
    silent,
)
from harness.learning.perceptron import layer_sizes
from harness.rng import Rng
from harness.rules import readouts
from harness.rules.competition import uniform_weights

DECAY = 0.99
"""Decay of the running mean square, per step."""

FLOOR = 0.3
"""A neuron's RMS counts as at least this share of its layer's mean RMS."""


@registry.learners.register("eg-3f", family="excitatory rules")
class Eg3f(FeatureLearner):
    """Exponentiated three-factor rule: excitatory layers trained by the error (reconstruction).

    Our variant, with the exponentiated form of Cornford et al. 2024.
    """

    regimes = frozenset({"from_scratch", "class_transfer"})

    typical_training_s = 27.0

    class Config(registry.Config):
        """Every ingredient has a switch: a rate of 0, or null, turns it off."""

        hidden: Annotated[int, Field(ge=2)] | list[Annotated[int, Field(ge=2)]] = Field(
            200, description="units in the hidden layer, or a list with one entry per layer"
        )
        winners: int | None = Field(
            None, ge=1, description="k of a k-winners-take-all; null: a rectifier alone"
        )
        feedback: Literal["v", "random"] = Field(
            "v",
            description="weights that carry the error down: those of the network, or fixed random "
            "ones",
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
        batch: int = Field(50, ge=1, description="images per step")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )
        head: HeadName = Field(
            "ridge", description="few-shot head on the last hidden layer, by class transfer"
        )

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = _named(self.initial_weights(n_classes))

    @property
    def frozen_features(self) -> bool:
        """Whether it was fitted: from scratch, every episode trains a network of its own."""
        return self.fitted

    def initial_weights(self, classes: int, networks: int = 1) -> list[torch.Tensor]:
        """W ~ U(0.01, 0.1), twice that at the output, of E networks that start alike.

        Returns:
            (E, n_in, n_out) for each layer.
        """
        pixels = math.prod(self.image_shape)
        sizes = [pixels, *layer_sizes(self.config.hidden), classes]
        generator = self.rng.torch("weights")
        weights = [
            uniform_weights(n_in, n_out, generator=generator)
            for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        weights[-1] *= 2
        return [weight.to(self.device).repeat(networks, 1, 1) for weight in weights]

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train in mini-batches; each epoch logs its accuracy."""
        config = self.config
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images = train.tensor(self.device).flatten(1)
        weights = self.initial_weights(self.n_classes)
        self.tensors = _named(weights)
        log = TrainingLog()
        log.add(self)
        rule = ThreeFactorRule(self, weights)
        total = budget.cap(config.epochs * len(train))
        order = self.rng.torch("order")
        with torch.no_grad():
            while log.images_seen < total:
                rows = torch.randperm(len(train), generator=order).to(self.device)
                rows = rows[: total - log.images_seen]
                correct = 0
                for batch in rows.split(config.batch):
                    fade = 1 - log.images_seen / total
                    logits = rule.step(images[batch].unsqueeze(0), labels[batch].unsqueeze(0), fade)
                    correct += int((logits[0].argmax(1) == labels[batch]).sum())
                    log.images_seen += len(batch)
                    log.step(self)
                log.add(self, train_accuracy=correct / len(rows))
                progress(log.images_seen / total, f"epoch {len(log.rows)}")
        self.fitted = True
        return log

    def _weights(self) -> list[torch.Tensor]:
        """The weights (n_in, n_out) of each layer, the output's last."""
        return [self.tensors[f"W{depth}"][0] for depth in range(len(self.tensors))]

    def body(self) -> nn.Module:
        """The hidden layers."""
        from harness.rules.modules.excitatory import ExcitatoryPerceptron

        return ExcitatoryPerceptron(self._weights()[:-1], self.config.winners).eval()

    def classifier(self) -> nn.Module:
        """The hidden layers and the output."""
        return self._network(self._weights())

    def _network(self, weights: Sequence[torch.Tensor]) -> nn.Module:
        """The classifier with weights (n_in, n_out), or of E networks (E, n_in, n_out)."""
        from harness.rules.modules.competitive import ExcitatoryReadout
        from harness.rules.modules.excitatory import ExcitatoryPerceptron

        hidden = [weight.clone() for weight in weights[:-1]]
        return nn.Sequential(
            ExcitatoryPerceptron(hidden, self.config.winners),
            ExcitatoryReadout(weights[-1].clone(), 1.0),
        ).eval()

    def connectome(self) -> list[Synapses]:
        """One bundle per layer."""
        weights = self._weights()
        names = [*(f"layer {depth}" for depth in range(1, len(weights))), READOUT]
        return [Synapses(name, weight) for name, weight in zip(names, weights, strict=True)]

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """A head on the frozen hidden layers or, before ``fit``, a network trained from scratch."""
        if self.fitted:
            return super().adapt(support_images, support_labels, n_way)
        weights = self._learned(support_images.unsqueeze(0), support_labels.unsqueeze(0), n_way)
        return self._network([weight[0] for weight in weights])

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes, which are learned together."""
        if self.fitted:
            return super().adapt_many(support_images, support_labels, n_way)
        return self._network(self._learned(support_images, support_labels, n_way))

    def _learned(
        self, images: torch.Tensor, labels: torch.Tensor, n_way: int
    ) -> list[torch.Tensor]:
        """Weights (E, n_in, n_out) learned from support sets (E, S, C, H, W) and labels (E, S)."""
        weights = self.initial_weights(n_way, len(images))
        rule = ThreeFactorRule(self, weights)
        steps = self.config.adapt_steps
        with torch.no_grad():
            for step in range(steps):
                rule.step(images.flatten(2), labels, 1 - step / steps)
        return weights


class ThreeFactorRule:
    """The rule, training E networks together.

    Args:
        learner: Has the config, and the source of randomness.
        weights: (E, n_in, n_out) for each layer, changed in place.
    """

    def __init__(self, learner: Eg3f, weights: list[torch.Tensor]) -> None:
        self.config = learner.config
        self.weights = weights
        self.steps = 0
        # Running mean square of each neuron's drives, (E, 1, n_out).
        self.mean_square = [torch.zeros(len(w), 1, w.shape[2], device=w.device) for w in weights]
        self.noise = learner.rng.torch("noise")
        self.feedback: list[torch.Tensor] | None = None
        if learner.config.feedback == "random":
            generator = learner.rng.torch("feedback")
            self.feedback = [
                torch.randn(w.shape[1:], generator=generator).to(w.device) for w in weights
            ]

    def step(self, images: torch.Tensor, labels: torch.Tensor, fade: float) -> torch.Tensor:
        """Take one training step.

        Args:
            images: (E, B, n).
            labels: (E, B).
            fade: f.

        Returns:
            The logits (E, B, classes) from before the step.
        """
        from harness.rules.modules.excitatory import activity

        activities = [images]
        for weight in self.weights[:-1]:
            drive = torch.bmm(activities[-1], weight)
            activities.append(activity(drive, self.config.winners))
        logits = readouts.logits(activities[-1], self.weights[-1], 1.0)
        error = readouts.one_hot(labels, logits.shape[2]) - torch.softmax(logits, 2)
        self.steps += 1
        for depth in reversed(range(len(self.weights))):
            x = activities[depth]
            push = torch.bmm(x.transpose(1, 2), error) / images.shape[1]  # G
            if depth:
                # Before this layer's weights change: they carry the error down.
                error = self._passed_down(depth, error, x)
            self._change_weights(depth, push, fade)
        return logits

    def _passed_down(self, depth: int, error: torch.Tensor, activity: torch.Tensor) -> torch.Tensor:
        """The error at the neurons below layer ``depth``: centred, and only where they are active.

        e' = centred((centred(e) W^T) [activity > 0]), or with fixed random weights instead of W.
        """
        centred = error - error.mean(2, keepdim=True)
        if self.feedback is None:
            back = self.weights[depth].transpose(1, 2)
        else:
            back = self.feedback[depth].T.expand(len(error), -1, -1)
        below = torch.bmm(centred, back) * (activity > 0)
        return below - below.mean(2, keepdim=True)

    def _change_weights(self, depth: int, push: torch.Tensor, fade: float) -> None:
        """Change one layer, w <- w exp(clip(eta f (G / r - l) + nu xi))."""
        config = self.config
        is_output = depth + 1 == len(self.weights)
        cost = config.output_cost if is_output else config.cost
        change = (push / self._rms(depth, push)).sub_(cost).mul_(config.eta * fade)
        if config.noise:
            xi = torch.randn(change.shape[1:], generator=self.noise).to(change.device)
            change += config.noise * xi
        self.weights[depth].mul_(change.clamp_(-config.clip, config.clip).exp_())

    def _rms(self, depth: int, push: torch.Tensor) -> torch.Tensor:
        """Running RMS r of each neuron's drives, (E, 1, n_out), with bias correction and floor."""
        mean_square = self.mean_square[depth]
        new = push.square().mean(1, keepdim=True)
        mean_square.mul_(DECAY).add_(new, alpha=1 - DECAY)
        rms = (mean_square / (1 - DECAY**self.steps)).sqrt()
        floor = FLOOR * rms.mean(2, keepdim=True)
        return torch.maximum(rms, floor).clamp_min(1e-12)


def _named(weights: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"W{depth}": weight for depth, weight in enumerate(weights)}
