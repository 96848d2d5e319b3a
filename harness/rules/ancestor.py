"""The authors' ancestor rule (Stricker, Roehrbein & Knoblauch, arXiv 2603.00588), as far as it is published.

Published, second-hand by two summaries that agree: excitatory plastic weights from U(0.01, 0.1); one hidden layer with the
activation 2 sigmoid(z) - 1 for z >= 0; a hidden layer that learns by purely local competitive Hebbian plasticity; an output
that learns by Hebbian plasticity and weight perturbation of the cross-entropy; homeostatic biases. Derived from their table:
about one surviving synapse per input neuron at every width, which is what a competition between the synapses that leave
one input neuron ends in.

Ours, since the equations are not known to this project: that competition as a replicator equation in log w, uniform
inhibition of the hidden layer, the rates, and the form of the output's Hebbian start.
"""

from __future__ import annotations

from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import UNLIMITED, labels_of
from harness.learning.heads import FeatureLearner, HeadName
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.registry import Config, learners
from harness.rng import Rng
from harness.rules import readouts as readout

SILENT = 0.01
"""At the end a synapse below this share of the mean of its input neuron's strongest synapses is silent, and is removed."""


@learners.register("ancestor")
class Ancestor(FeatureLearner):
    """Competitive Hebbian layer whose inputs each choose a neuron, and weight perturbation (reconstruction of 2603.00588)."""

    regimes = frozenset({"class_transfer"})

    class Config(Config):
        """Every ingredient has a switch: a rate of 0, or false, turns it off."""

        hidden: int = Field(100, ge=2, description="hidden neurons H")
        epochs: int = Field(
            5, ge=1, description="passes over the training images for the hidden layer"
        )
        batch: int = Field(50, ge=1, description="images a step")
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
            description="temperature of the competition between hidden neurons "
            "that gates plasticity; 0: none",
        )
        homeostasis: float = Field(
            2.0, ge=0, description="rate of the biases towards the target activity"
        )
        target: float = Field(0.1, gt=0, lt=1, description="mean activity that biases aim at")
        gain: float = Field(
            3.0, gt=0, description="of a hidden neuron's drive above the pool's mean"
        )
        clip: float = Field(0.3, gt=0, le=1, description="largest step in log w")
        readout_eta: float = Field(
            0.05, gt=0, description="rate of weight perturbation, in RMS units of log V"
        )
        readout_steps: int = Field(
            600, ge=0, description="steps of weight perturbation; 0: the Hebbian start alone"
        )
        readout_batch: int = Field(2000, ge=1, description="codes a step")
        readout_gain: float = Field(10.0, gt=0, description="of the output")
        perturbation: float = Field(0.05, gt=0, description="size of the perturbation of log V")
        trials: int = Field(8, ge=1, description="antithetic pairs of perturbations a step")
        head: HeadName = Field("ridge", description="few-shot head, by class transfer")

    config: Config

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        self._begin()

    def _begin(self) -> None:
        n, hidden = int(torch.Size(self.image_shape).numel()), self.config.hidden

        def young(*size: int) -> torch.Tensor:
            return (0.01 + 0.09 * torch.rand(*size, generator=self.rng.torch("weights", *size))).to(
                self.device
            )

        self.tensors = {
            "W": young(n, hidden),
            "V": young(hidden, self.n_classes),
            "b": torch.zeros(hidden, device=self.device),
        }

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """The hidden layer from images alone, then the output."""
        labels, config, log = (
            torch.from_numpy(labels_of(train, self)).to(self.device),
            self.config,
            TrainingLog(),
        )
        self._begin()
        log.add(self)
        images = train.tensor(self.device).flatten(1)
        total = max(config.batch, budget.cap((config.epochs + 1) * len(train)) - len(train))
        order = self.rng.torch("order")
        with torch.no_grad():
            while log.images_seen < total:
                rows = torch.randperm(len(train), generator=order)[: total - log.images_seen].to(
                    self.device
                )
                for batch in rows.split(config.batch):
                    self._learn(images[batch], 1 - log.images_seen / total)
                    log.images_seen += len(batch)
                    log.step(self)
                log.add(self, live=(self._strength() > SILENT).float().mean().item())
                progress(0.8 * log.images_seen / total, "hidden layer")
            self.tensors["W"] = self.tensors["W"] * (self._strength() > SILENT)
            self._fit_output(train, labels, log)
        self.fitted = True
        progress(1.0, "output")
        return log

    def _strength(self) -> torch.Tensor:
        """Each synapse as a share of the mean over input neurons of their strongest synapse."""
        weight = self.tensors["W"]
        return weight / weight.max(1).values.mean().clamp_min(1e-30)

    def _learn(self, images: torch.Tensor, fade: float) -> None:
        """One Hebbian step on a batch (B, n).

        With s_ij = w_ij / sum_j w_ij: dlog w_ij = eta f (a_ij - sum_j' s_ij' a_ij') / mean_j a_ij, a_ij = <x_i y_j>.
        Inputs that were silent in the batch do not learn.
        """
        config, weight = self.config, self.tensors["W"]
        h = self.body()(images)
        gate = (
            torch.softmax(config.activity_competition * h, 1) * h.shape[1]
            if config.activity_competition
            else 1.0
        )
        coactivity = images.T @ (h * gate) / len(images)
        if config.presynaptic:
            reference = (weight * coactivity).sum(1, keepdim=True) / weight.sum(
                1, keepdim=True
            ).clamp_min(1e-30)
        else:
            square = weight.square()
            reference = (square * coactivity).sum(0, keepdim=True) / square.sum(
                0, keepdim=True
            ).clamp_min(1e-30)
        mean = coactivity.mean(1, keepdim=True)
        change = config.eta * fade * (coactivity - reference) / mean.clamp_min(1e-9) * (mean > 1e-9)
        weight.mul_(change.clamp_(-config.clip, config.clip).exp_())
        self.tensors["b"].add_(config.target - h.mean(0), alpha=config.homeostasis * fade)

    def _fit_output(self, train: Images, labels: torch.Tensor, log: TrainingLog) -> None:
        """V starts at each class's mean code (Hebb); weight perturbation of the cross-entropy refines it."""
        config, generator = self.config, self.rng.torch("perturbation")
        codes = self.embed(train.tensor(self.device))
        log.images_seen += len(train)
        weight = (
            (readout.class_means(codes[None], labels[None], self.n_classes) + 0.01)
            .transpose(1, 2)
            .contiguous()
        )
        for step in range(config.readout_steps):
            rows = torch.randint(
                len(codes), (min(config.readout_batch, len(codes)),), generator=generator
            ).to(self.device)
            targets = readout.one_hot(labels[rows][None], self.n_classes)
            push = readout.perturbation_drive(
                codes[rows][None],
                targets,
                weight,
                config.readout_gain,
                config.perturbation,
                config.trials,
                generator,
            )
            readout.step(
                weight, push, config.readout_eta * (1 - step / config.readout_steps), config.clip
            )
        self.tensors["V"] = weight[0]
        logits = readout.logits(codes[None], weight, config.readout_gain)[0]
        log.add(self, train_accuracy=(logits.argmax(1) == labels).float().mean().item())

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Hidden activity, (B, C, H, W) -> (B, H)."""
        with torch.no_grad():
            return in_batches(self.body(), images, batch_size=512)

    def body(self) -> nn.Module:
        """The hidden layer."""
        from harness.rules.modules.excitatory import SigmoidCode

        return SigmoidCode(self.tensors["W"], self.tensors["b"], self.config.gain).eval()

    def classifier(self) -> nn.Module:
        """The hidden layer and the output."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        return nn.Sequential(
            self.body(), ExcitatoryReadout(self.tensors["V"].clone(), self.config.readout_gain)
        ).eval()

    def connectome(self) -> list[Synapses]:
        weight = self.tensors["W"]
        return [
            Synapses("input->hidden", weight, weight > 0),
            Synapses("hidden->output", self.tensors["V"]),
        ]
