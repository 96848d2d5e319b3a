"""Convolutional layers that learn by Hebbian rules, and a trained read-out."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.batching import in_batches
from harness.errors import HarnessError
from harness.lazy import F, nn, torch
from harness.learning import hebbian_steps as steps
from harness.learning.connectome import READOUT
from harness.learning.fitting import unlabelled_error
from harness.learning.hebbian_stage import Form, LayerConfig, Stage, features, patches_of
from harness.learning.learner import Progress, Synapses, TrainingLog
from harness.learning.readout import Codes, train_readout
from harness.learning.unsupervised import UnsupervisedConfig, UnsupervisedLearner
from harness.registry import learners

Rule = Literal["hpca", "hard", "soft", "bcm"]
Tensors = dict[str, "torch.Tensor"]

RATES: dict[Rule, float] = {"hpca": 0.1, "hard": 0.1, "soft": 0.08, "bcm": 0.1}
"""Rate of each rule where a layer has none of its own."""

RADIUS = 25.0
"""Length of a unit's initial weights for ``soft``, about."""

FLAT = 1e-3
"""Smallest deviation that an input is divided by."""

FAINT = 1e-6
"""Added to |w| before its reciprocal is taken."""

MEASURED = 2000
"""Training images, at most, that the layers' means and variances are measured on."""

CODE_BATCH = 256
KEPT_BYTES = 2**30
"""Features up to this size are computed once for the read-out, larger ones in every epoch."""

GELU_UNITS = 2048


@learners.register("hebbian-conv", family="Hebbian")
class HebbianConv(UnsupervisedLearner):
    """Convolutions by one of several Hebbian rules, one pass over the images, and a read-out.

    Each layer normalises its input by channel, takes the drive u of its filters on patches p, lets
    the rule compete over the channels at each place, and answers with pooled relu(u - mean_c u)^a.
    All layers learn at once. Rules (``harness.learning.hebbian_steps`` has the equations):

    - ``hpca``: Sanger's principal components (Lagani et al. 2022);
    - ``hard``: the winner moves towards its patch (Amato et al. 2019);
    - ``soft``: soft competition, losers unlearn (SoftHebb, Journe et al. 2023), with the rate
      eta |norm(w) - 1|^0.5;
    - ``bcm``: the winner learns by a sliding threshold (Jimenez Nimmo & Mondragon 2025).

    u = w . p for hpca and soft, and the cosine of w and p for the others. Changes of all but hpca
    are divided by their largest entry. ``dale`` folds weights to |w| after every step.
    ``presynaptic`` reads 1 / |w| in place of w, at length one over each kernel, in the drive and in
    the change. ``lateral`` passes drives through a difference of Gaussians between places.

    Ours: rates fall linearly to zero; means and variances are measured after learning.
    ``epochs: 0`` leaves filters random: the control of the rule.
    """

    typical_training_s = 200.0

    class Config(UnsupervisedConfig):
        """Keys of ``hebbian-conv``."""

        rule: Rule = Field("hard", description="hpca, hard, soft or bcm")
        layers: list[LayerConfig] = Field(
            [LayerConfig.model_validate({})],
            min_length=1,
            description="the layers, from the image on",
        )
        dale: bool = Field(False, description="no negative weights")
        presynaptic: bool = Field(False, description="presynaptic competition between weights")
        epochs: int = Field(
            1, ge=0, description="passes over the training images; 0 leaves filters random"
        )
        batch_size: int = Field(50, ge=1, description="images per step of the layers")
        lr: float = Field(
            1.0, gt=0, description="factor on the rates of all layers; falls linearly to zero"
        )
        readout: Literal["linear", "gelu-2048"] = Field(
            "linear", description="linear, or a hidden layer of 2048 GELU units"
        )
        readout_lr: float = Field(
            1e-3, gt=0, description="Adam's rate for the read-out; falls linearly to zero"
        )
        dropout: float = Field(
            0.0, ge=0, lt=1, description="share of features left out in a step of the read-out"
        )
        average: bool = Field(
            False, description="few-shot heads read each channel's mean over places"
        )

    config: Config

    @property
    def stages(self) -> list[Stage]:
        """The layers, as the network computes them."""
        cosine = self.config.rule in ("hard", "bcm")
        return [Stage(layer, cosine) for layer in self.config.layers]

    def _reset(self) -> None:
        config = self.config
        generator = self.rng.torch("initial weights")
        depth, *sides = self.image_shape
        self.tensors = {}
        for i, layer in enumerate(config.layers):
            if min(sides) <= layer.kernel // 2:
                raise HarnessError(
                    f"layer {i + 1} has an input of {sides[0]}x{sides[1]} places, which is too "
                    f"small for kernel {layer.kernel}",
                    hint="give fewer layers, smaller kernels or smaller strides",
                )
            weight = self._start((layer.channels, depth, layer.kernel, layer.kernel), generator)
            self.tensors[f"weight{i}"] = weight
            self.tensors[f"mean{i}"] = torch.zeros(1, depth, 1, 1)
            self.tensors[f"deviation{i}"] = torch.ones(1, depth, 1, 1)
            if config.rule == "bcm":
                self.tensors[f"threshold{i}"] = torch.ones(layer.channels)
            depth = layer.channels
            sides = [layer.side(side) for side in sides]
        width = depth * math.prod(sides)
        if config.readout == "gelu-2048":
            self.tensors["units"] = torch.zeros(width, GELU_UNITS)
            self.tensors["units_bias"] = torch.zeros(1, GELU_UNITS)
            width = GELU_UNITS
        self.tensors["scale"] = torch.ones(1)
        self.tensors["readout"] = torch.zeros(width, self.n_classes)
        self.tensors["readout_bias"] = torch.zeros(1, self.n_classes)
        self.tensors = {name: value.to(self.device) for name, value in self.tensors.items()}
        self.fitted = False

    def _start(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Normal of length about 25 for ``soft``, else uniform in +-1 / sqrt(fan-in)."""
        fan_in = math.prod(shape[1:])
        if self.config.rule == "soft":
            weight = torch.randn(shape, generator=generator) * (RADIUS / math.sqrt(fan_in))
        else:
            weight = (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(fan_in)
        return weight.abs() if self.config.dale else weight

    def wanted(self, images: int) -> int:
        """Every image once for each epoch, or some to measure random layers on."""
        return self.config.epochs * images or min(images, MEASURED)

    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        order = self.rng.torch("order")
        rows = torch.zeros(0, dtype=torch.int64)
        while log.images_seen < total:
            rows = torch.randperm(len(images), generator=order)[: total - log.images_seen]
            for batch in rows.to(self.device).split(self.config.batch_size):
                if self.config.epochs:
                    self.learn(images[batch], log.images_seen / total)
                log.images_seen += len(batch)
                log.step(self)
                progress(0.8 * log.images_seen / total, "convolutions")
            log.add(self, weight_norm=float(self.tensors["weight0"].flatten(1).norm(dim=1).mean()))
        self.measure(images[rows[:MEASURED].to(self.device)])

    def learn(self, x: torch.Tensor, done: float) -> None:
        """Take one step in every layer, on a batch of images (B, C, H, W)."""
        for i, stage in enumerate(self.stages):
            mean, deviation = moments(x)
            x = (x - mean) / deviation
            weight = self.tensors[f"weight{i}"]
            kernel = self.read(weight)
            u = stage.drive(x, kernel)
            patches = patches_of(x, stage.layer.kernel)
            by_patch = u.permute(0, 2, 3, 1).flatten(0, 2)
            step = self.step(i, patches, by_patch, kernel.flatten(1)).view_as(weight)
            rate = stage.layer.lr or RATES[self.config.rule]
            weight.add_(step, alpha=rate * self.config.lr * (1 - done))
            if self.config.dale:
                weight.abs_()
            x = stage.answer(u)

    def step(
        self, i: int, patches: torch.Tensor, u: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """The change of layer ``i``, up to its rate.

        Args:
            i: The layer.
            patches: (P, D).
            u: Drives (P, C).
            weight: What units read, (C, D).
        """
        rule, layer = self.config.rule, self.config.layers[i]
        if rule == "hpca":
            return steps.sanger(patches, u, weight)
        if rule == "hard":
            return steps.by_largest(steps.instar(patches, u, weight))
        if rule == "bcm":
            threshold = self.tensors[f"threshold{i}"]
            return steps.by_largest(steps.bcm(patches, u, threshold, layer.threshold_rate))
        step = steps.by_largest(steps.soft(patches, u, weight, layer.gain))
        return step * (weight.norm(dim=1, keepdim=True) - 1).abs().sqrt()

    def read(self, weight: torch.Tensor) -> torch.Tensor:
        """The weights (C, c, k, k) that units read: those stored, or 1 / |w| at length one."""
        if not self.config.presynaptic:
            return weight
        taps = (1 / (weight.abs() + FAINT)).flatten(2)
        return F.normalize(taps, dim=2).view_as(weight)

    def measure(self, images: torch.Tensor) -> None:
        """Set the means and deviations that layers normalise by, from images (N, C, H, W)."""
        from harness.learning.nets import FrozenFunction

        x = images
        for i, stage in enumerate(self.stages):
            mean, deviation = moments(x)
            self.tensors[f"mean{i}"] = mean
            self.tensors[f"deviation{i}"] = deviation
            kernel = self.read(self.tensors[f"weight{i}"])
            tensors = {"mean0": mean, "deviation0": deviation, "weight0": kernel}
            layer = FrozenFunction(features, tensors, stages=[stage], form="maps")
            x = in_batches(layer, x, batch_size=CODE_BATCH)

    def _fit_readout(
        self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        """Train it on features scaled to a mean square of one."""
        network = self.features("flat")
        some = in_batches(network, images[:CODE_BATCH], batch_size=CODE_BATCH)
        self.tensors["scale"] = some.square().mean().sqrt().clamp_min(1e-30).reciprocal().view(1)
        parameters = self._initial_readout()
        config = self.config
        accuracy = train_readout(
            self._codes(network, images, some[0].nbytes),
            labels,
            parameters,
            epochs=config.readout_epochs,
            lr=config.readout_lr,
            dropout=config.dropout,
            order=self.rng.torch("read-out order"),
            progress=lambda share: progress(0.8 + 0.2 * share, "read-out"),
        )
        self.tensors |= dict(zip(self._readout_names, parameters, strict=True))
        log.images_seen += len(images)
        log.add(self, train_accuracy=accuracy)

    def _codes(self, network: nn.Module, images: torch.Tensor, row_bytes: int) -> Codes:
        """Scaled features of rows of the images: kept, unless they are too large."""
        scale = self.tensors["scale"]
        if row_bytes * len(images) > KEPT_BYTES:
            return lambda rows: in_batches(network, images[rows], batch_size=CODE_BATCH) * scale
        kept = in_batches(network, images, batch_size=CODE_BATCH) * scale
        return lambda rows: kept[rows]

    @property
    def _readout_names(self) -> list[str]:
        """Weights and biases in turn."""
        hidden = ["units", "units_bias"] if self.config.readout == "gelu-2048" else []
        return [*hidden, "readout", "readout_bias"]

    def _initial_readout(self) -> list[torch.Tensor]:
        from harness.learning.nets import init_perceptron

        weights = [self.tensors[name] for name in self._readout_names[::2]]
        sizes = [len(weights[0]), *(weight.shape[1] for weight in weights)]
        drawn = init_perceptron(sizes, self.rng.torch("read-out"))
        return [parameter.to(self.device) for parameter in drawn]

    def features(self, form: Form) -> nn.Module:
        """Images to the last layer's answer."""
        from harness.learning.nets import FrozenFunction

        tensors = {}
        for i in range(len(self.config.layers)):
            tensors[f"weight{i}"] = self.read(self.tensors[f"weight{i}"])
            for name in (f"mean{i}", f"deviation{i}"):
                tensors[name] = self.tensors[name]
        return FrozenFunction(features, tensors, stages=self.stages, form=form)

    def body(self) -> nn.Module:
        """Images to what few-shot heads read."""
        return self.features("average" if self.config.average else "flat")

    def classifier(self) -> nn.Module:
        """The read-out of the features.

        Raises:
            HarnessError: It was not trained on labels.
        """
        if "readout" not in self.tensors:
            raise unlabelled_error(self.kind)
        from harness.learning.nets import Perceptron

        parameters = [self.tensors[name] for name in self._readout_names]
        first = self.tensors["scale"] * parameters[0]
        perceptron = Perceptron([first, *parameters[1:]], activation="gelu")
        return nn.Sequential(self.features("flat"), perceptron).eval()

    def connectome(self) -> list[Synapses]:
        """Filters (c k k, C), which act at every place, and the read-out if it was trained."""
        bundles = []
        for i in range(len(self.config.layers)):
            pre = "input" if i == 0 else f"layer{i}"
            weight = self.tensors[f"weight{i}"].flatten(1).T
            bundles.append(
                Synapses(
                    f"{pre}->layer{i + 1}",
                    weight,
                    presynaptic_sign=False,
                    enforced=self.config.dale,
                )
            )
        if "readout" in self.tensors:
            if "units" in self.tensors:
                bundles.append(Synapses("layers->units", self.tensors["units"]))
            bundles.append(Synapses(READOUT, self.tensors["readout"]))
        return bundles


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each channel of maps (B, c, H, W), both (1, c, 1, 1)."""
    mean = x.mean((0, 2, 3), keepdim=True)
    deviation = x.var((0, 2, 3), unbiased=False, keepdim=True).sqrt()
    return mean, deviation.clamp_min(FLAT)
