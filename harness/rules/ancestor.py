"""The authors' ancestor rule (arXiv 2603.00588), as far as it is published.

Published (Stricker, Roehrbein & Knoblauch), second-hand by two summaries that agree: excitatory
plastic weights from U(0.01, 0.1); one hidden layer with the activation 2 sigmoid(z) - 1 for z >= 0;
a hidden layer that learns by purely local competitive Hebbian plasticity; an output that learns by
Hebbian plasticity and weight perturbation of the cross-entropy; homeostatic biases. Derived from
their table: about one synapse per input neuron survives at every width. A competition between the
synapses that leave one input neuron ends like this.

Ours, because this project does not know the equations: that competition as a replicator equation
in log w, uniform inhibition of the hidden layer, the rates, and the form of the output's Hebbian
start.
"""

from __future__ import annotations

import math

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import labels_of
from harness.learning.heads import HeadName
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    Progress,
    Synapses,
    TrainingLog,
    in_parts,
    silent,
)
from harness.rng import Rng
from harness.rules import readouts
from harness.rules.competition import uniform_weights

SILENT = 0.01
"""Weaker synapses are removed in the end; relative to the mean of the inputs' strongest ones."""

TRACE = 0.01
"""Strength of every output synapse, at least: perturbations multiply and cannot revive 0."""

EMBED_BATCH = 512


@registry.learners.register("ancestor", family="excitatory rules")
class Ancestor(FeatureLearner):
    """Competitive Hebbian layer and weight perturbation (reconstruction of arXiv 2603.00588)."""

    regimes = frozenset({"class_transfer"})

    typical_training_s = 50.0

    class Config(registry.Config):
        """Every ingredient has a switch: a rate of 0, or false, turns it off."""

        hidden: int = Field(100, ge=2, description="hidden neurons H")
        epochs: int = Field(
            5, ge=1, description="passes over the training images for the hidden layer"
        )
        batch: int = Field(50, ge=1, description="images per step")
        eta: float = Field(
            0.5, gt=0, le=1, description="Hebbian rate, in units of an input's mean coactivity"
        )
        presynaptic: bool = Field(
            True,
            description="an input's synapses compete; false: they grow up to a fixed length of "
            "the neuron's weights instead",
        )
        activity_competition: float = Field(
            0.0,
            ge=0,
            description="temperature of a competition between hidden neurons that gates "
            "plasticity; 0: none",
        )
        homeostasis: float = Field(
            2.0, ge=0, description="rate of the biases towards the target activity"
        )
        target: float = Field(0.1, gt=0, lt=1, description="mean activity that biases aim at")
        gain: float = Field(
            3.0, gt=0, description="gain of a hidden neuron's drive above the pool's mean"
        )
        clip: float = Field(0.3, gt=0, le=1, description="largest step in log w")
        readout_eta: float = Field(
            0.05, gt=0, description="rate of weight perturbation, in RMS units of log V"
        )
        readout_steps: int = Field(
            600, ge=0, description="steps of weight perturbation; 0: the Hebbian start alone"
        )
        readout_batch: int = Field(2000, ge=1, description="codes per step")
        readout_gain: float = Field(10.0, gt=0, description="gain of the output")
        perturbation: float = Field(0.05, gt=0, description="size of the perturbation of log V")
        trials: int = Field(8, ge=1, description="antithetic pairs of perturbations per step")
        head: HeadName = Field("ridge", description="few-shot head, by class transfer")

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning."""
        n = math.prod(self.image_shape)
        hidden = self.config.hidden

        def initial(*size: int) -> torch.Tensor:
            weight = uniform_weights(*size, generator=self.rng.torch("weights", *size))
            return weight.to(self.device)

        self.tensors = {
            "W": initial(n, hidden),
            "V": initial(hidden, self.n_classes),
            "b": torch.zeros(hidden, device=self.device),
        }

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train the hidden layer on images alone, then the output."""
        config = self.config
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        self._reset()
        log = TrainingLog()
        log.add(self)
        images = train.tensor(self.device).flatten(1)
        # The output sees each image once more.
        total = max(config.batch, budget.cap((config.epochs + 1) * len(train)) - len(train))
        order = self.rng.torch("order")
        in_hidden, in_output = in_parts(progress, 0.8, 0.2)
        with torch.no_grad():
            while log.images_seen < total:
                shuffled = torch.randperm(len(train), generator=order)
                rows = shuffled[: total - log.images_seen].to(self.device)
                for batch in rows.split(config.batch):
                    self.learn(images[batch], 1 - log.images_seen / total)
                    log.images_seen += len(batch)
                    log.step(self)
                log.add(self, live=(self._strength() > SILENT).float().mean().item())
                in_hidden(log.images_seen / total, "hidden layer")
            self.tensors["W"] = self.tensors["W"] * (self._strength() > SILENT)
            self._fit_output(train, labels, log, in_output)
        self.fitted = True
        progress(1.0, "")
        return log

    def _strength(self) -> torch.Tensor:
        """Each synapse, relative to the mean over inputs of their strongest synapse."""
        weight = self.tensors["W"]
        strongest = weight.max(1).values
        return weight / strongest.mean().clamp_min(1e-30)

    def learn(self, images: torch.Tensor, fade: float) -> None:
        """Take one Hebbian step on a batch of flat images (B, n); ``fade`` is f.

        With the coactivity a_ij = <x_i y_j>, weights change by w <- w exp(clip(D)) with

            D_ij = eta f (a_ij - r_ij) / mean_j a_ij.

        If synapses of an input compete, r_i = sum_j s_ij a_ij with their shares
        s_ij = w_ij / sum_j w_ij. Otherwise, r_j = sum_i w_ij^2 a_ij / sum_i w_ij^2 keeps the length
        of a neuron's weights. With ``activity_competition`` T, y_j is H softmax_j(T h) h_j, else
        h_j. Inputs that were silent in the batch do not learn. Biases change by

            b_j <- b_j + k f (target - <h_j>),  k the rate of homeostasis.
        """
        config = self.config
        weight = self.tensors["W"]
        h = self.body()(images)
        y = h
        if config.activity_competition:
            y = h * (torch.softmax(config.activity_competition * h, 1) * h.shape[1])
        coactivity = images.T @ y / len(images)  # a
        if config.presynaptic:
            total = weight.sum(1, keepdim=True).clamp_min(1e-30)
            reference = (weight * coactivity).sum(1, keepdim=True) / total
        else:
            square = weight.square()
            total = square.sum(0, keepdim=True).clamp_min(1e-30)
            reference = (square * coactivity).sum(0, keepdim=True) / total
        mean = coactivity.mean(1, keepdim=True)
        is_active = mean > 1e-9
        change = config.eta * fade * (coactivity - reference) / mean.clamp_min(1e-9) * is_active
        weight.mul_(change.clamp_(-config.clip, config.clip).exp_())
        self.tensors["b"].add_(config.target - h.mean(0), alpha=config.homeostasis * fade)

    def _fit_output(
        self, train: Images, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        """Start V at each class's mean code (Hebb), then refine it by weight perturbation."""
        config = self.config
        generator = self.rng.torch("perturbation")
        codes = self.embed(train.tensor(self.device))
        log.images_seen += len(train)
        targets = readouts.one_hot(labels, self.n_classes)
        means = readouts.class_means(codes[None], labels[None], self.n_classes)
        weight = (means + TRACE).transpose(1, 2).contiguous()
        size = min(config.readout_batch, len(codes))

        def push(v: torch.Tensor) -> torch.Tensor:
            rows = torch.randint(len(codes), (size,), generator=generator).to(self.device)
            return readouts.perturbation_drive(
                codes[rows][None],
                targets[rows][None],
                v,
                config.readout_gain,
                config.perturbation,
                config.trials,
                generator,
            )

        readouts.descend(
            weight,
            push,
            steps=config.readout_steps,
            rate=config.readout_eta,
            clip=config.clip,
            progress=progress,
        )
        self.tensors["V"] = weight[0]
        logits = readouts.logits(codes[None], weight, config.readout_gain)[0]
        log.add(self, train_accuracy=(logits.argmax(1) == labels).float().mean().item())

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The hidden activity, (B, C, H, W) to (B, hidden)."""
        with torch.no_grad():
            return in_batches(self.body(), images, batch_size=EMBED_BATCH)

    def body(self) -> nn.Module:
        """The hidden layer."""
        from harness.rules.modules.excitatory import SigmoidCode

        return SigmoidCode(self.tensors["W"], self.tensors["b"], self.config.gain).eval()

    def classifier(self) -> nn.Module:
        """The hidden layer and the output."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        output = ExcitatoryReadout(self.tensors["V"].clone(), self.config.readout_gain)
        return nn.Sequential(self.body(), output).eval()

    def connectome(self) -> list[Synapses]:
        """The hidden layer and the output."""
        weight = self.tensors["W"]
        return [
            Synapses("input->hidden", weight, weight > 0),
            Synapses(READOUT, self.tensors["V"]),
        ]
