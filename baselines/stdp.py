"""Spike-timing-dependent plasticity in a winner-take-all layer, and a trained read-out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.hebbian import HebbianConfig, HebbianLearner, soft_code
from harness.learning.learner import Progress, Synapses, TrainingLog
from harness.registry import learners

PIXELS = 784
IMAGES = 60_000
"""Pixels and images of MNIST, for which the constants below are given."""

MEMBRANE_MS = 100.0
TRACE_MS = 20.0
REFRACTORY_MS = 5
THRESHOLD = 13.0
"""Millivolts from rest to the threshold of a cell that has not adapted."""

INHIBITION = 20.0
"""Millivolts that a spike takes from every other cell."""

INCOMING = 0.1
"""Sum of a cell's weights, as a share of the number of pixels; 78 of 784."""

VOTED = 1000
"""Images, at most, that cells get their classes from, and as many that they are tested on."""

VOTE_BATCH = 250
SMALLEST = 1e-12


@dataclass
class Layer:
    """The state of a layer while it is shown a batch of images, time step by time step.

    Attributes:
        weight: (n, cells).
        theta: What each cell's threshold has grown by, (cells,).
        gain: Millivolts for a spike through a weight of one.
        potential: Millivolts above rest, (B, cells).
        resting: Milliseconds of each cell's refractory time that are left, (B, cells).
        trace: Of recent spikes of each pixel, (B, n).
    """

    weight: torch.Tensor
    theta: torch.Tensor
    gain: float
    potential: torch.Tensor
    resting: torch.Tensor
    trace: torch.Tensor

    @classmethod
    def at_rest(cls, weight: torch.Tensor, theta: torch.Tensor, gain: float, images: int) -> Layer:
        """Before the first spike."""
        n, cells = weight.shape
        potential = weight.new_zeros(images, cells)
        trace = weight.new_zeros(images, n)
        return cls(weight, theta, gain, potential, torch.zeros_like(potential), trace)

    def step(self, spikes: torch.Tensor) -> torch.Tensor:
        """Let a millisecond pass.

        Args:
            spikes: Of the pixels, 0 or 1, (B, n).

        Returns:
            Spikes of the cells (B, cells), at most one an image.
        """
        self.trace = torch.maximum(self.trace * (1 - 1 / TRACE_MS), spikes)
        drive = self.gain * (spikes @ self.weight)
        drive *= self.resting <= 0
        self.potential = self.potential * (1 - 1 / MEMBRANE_MS) + drive
        above = self.potential - self.theta - THRESHOLD
        highest, cell = above.max(1, keepdim=True)
        fires = (highest > 0).to(spikes.dtype)
        z = torch.zeros_like(above).scatter(1, cell, fires)
        self.potential = (self.potential - INHIBITION * fires) * (1 - z)
        self.resting = torch.where(z > 0, float(REFRACTORY_MS), self.resting - 1)
        return z


@learners.register("stdp", family="spikes")
class Stdp(HebbianLearner):
    """A layer of spiking cells that compete and learn by STDP (after Diehl & Cook 2015).

    Pixels spike at random, at rates up to ``rate``. Cells integrate and leak; the one furthest
    above its threshold spikes, is reset, and inhibits all others. Its threshold grows with each
    spike, so that all cells take part. At a spike of cell j (the form with a target, their eq. 2),

        dw_ij = lr (x_i - target),

    where x_i is one at a spike of pixel i and decays within 20 ms. Then weights are cut to [0, 1],
    and the sum over a cell's inputs is set to 78 of 784. Changes are summed over an image and
    averaged over a batch.

    The network of spikes answers by vote: a cell has the class that it fires most for. It has no
    gradient, and none of a surrogate would pass its random code and its competition unharmed. So
    the classifier, and what is attacked, is a rate code with a linear read-out: softmax(gain cos(w,
    x)), whose gradient is exact. The accuracy of the vote is in the training log.

    Ours: steps of 1 ms, no inhibitory cells between, larger rates and fewer milliseconds.
    """

    typical_training_s = 400.0

    class Config(HebbianConfig):
        """Keys of ``stdp``."""

        hidden: int = Field(100, ge=2, description="cells")
        steps: int = Field(60, ge=1, description="milliseconds for which an image is shown")
        rate: float = Field(250.0, gt=0, le=1000, description="spikes a second of a white pixel")
        gain: float = Field(
            0.3, gt=0, description="millivolts that a spike adds through a weight of one"
        )
        target: float = Field(
            0.4, ge=0, lt=1, description="trace of a pixel below which a spike weakens its weight"
        )
        adaptation: float = Field(
            0.05,
            ge=0,
            description="millivolts that a spike adds to a threshold, where 60,000 images are "
            "seen; in inverse proportion to their number otherwise",
        )
        code_gain: float = Field(20.0, gt=0, description="gain of the rate code's competition")
        lr: float = Field(0.1, gt=0, description="rate of the plasticity; falls linearly to zero")
        epochs: int = Field(2, ge=0, description="passes over the training images for the cells")
        batch_size: int = Field(10, ge=1, description="images that are shown at once")

    config: Config

    def _reset(self) -> None:
        super()._reset()
        self.tensors["theta"] = torch.zeros(self.config.hidden, device=self.device)
        self._noise = self.rng.torch("spikes")

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Uniform weights, with the sum that they keep."""
        return normalised(torch.rand(n, self.config.hidden, generator=generator))

    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        self._growth = self.config.adaptation * IMAGES / max(total, 1)
        super()._fit_hidden(images, total, log, progress)

    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Show a batch of flat images, then change the weights."""
        theta = self.tensors["theta"]
        layer = self._layer(weight, len(x))
        change = torch.zeros_like(weight)
        for spikes in self._spikes(x):
            z = layer.step(spikes)
            change += layer.trace.T @ z - self.config.target * z.sum(0)
            theta += self._growth * z.sum(0)
        weight.add_(change, alpha=self.config.lr * (1 - done) / len(x)).clamp_(0, 1)
        weight.copy_(normalised(weight))

    def _layer(self, weight: torch.Tensor, images: int) -> Layer:
        gain = self.config.gain * PIXELS / len(weight)
        return Layer.at_rest(weight, self.tensors["theta"], gain, images)

    def _spikes(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Spikes of flat images (B, n) in every millisecond."""
        chance = x * (self.config.rate / 1000)
        for _ in range(self.config.steps):
            noise = torch.rand(x.shape, generator=self._noise).to(x.device)
            yield (noise < chance).to(x.dtype)

    def counts(self, images: torch.Tensor) -> torch.Tensor:
        """Spikes of every cell (N, cells) for images (N, C, H, W), without learning."""
        parts = []
        for x in images.flatten(1).split(VOTE_BATCH):
            layer = self._layer(self.tensors["weight"], len(x))
            parts.append(torch.stack([layer.step(spikes) for spikes in self._spikes(x)]).sum(0))
        return torch.cat(parts)

    def _fit_readout(
        self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        super()._fit_readout(images, labels, log, progress)
        shuffled = torch.randperm(len(images), generator=self.rng.torch("vote"))
        rows = shuffled[: 2 * VOTED].to(self.device)
        counts = self.counts(images[rows])
        half = len(rows) // 2
        classes = classes_of(counts[:half], labels[rows[:half]], self.n_classes)
        answers = vote(counts[half:], classes, self.n_classes)
        accuracy = (answers == labels[rows[half:]]).float().mean()
        log.rows[-1]["vote"] = float(accuracy)

    def code(self, weight: torch.Tensor) -> nn.Module:
        """softmax(gain cos(w, x))."""
        from harness.learning.nets import FrozenFunction

        unit_length = F.normalize(weight, dim=0)
        return FrozenFunction(soft_code, {"weight": unit_length}, tau=1 / self.config.code_gain)

    def connectome(self) -> list[Synapses]:
        """Pixels to cells, clamped at zero, and the read-out if it was trained."""
        first, *rest = super().connectome()
        return [Synapses(first.name, first.weight, enforced=True), *rest]


def normalised(weight: torch.Tensor) -> torch.Tensor:
    """Weights (n, cells) >= 0, with the sum of each cell's at 0.1 n."""
    return weight * (INCOMING * len(weight) / weight.sum(0).clamp_min(SMALLEST))


def classes_of(counts: torch.Tensor, labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """The class that each cell fires most for, on average: (cells,)."""
    member = F.one_hot(labels, n_classes).to(counts.dtype)
    means = member.T @ counts / member.sum(0).clamp_min(1)[:, None]
    return means.argmax(0)


def vote(counts: torch.Tensor, classes: torch.Tensor, n_classes: int) -> torch.Tensor:
    """The class whose cells spike most on average, for each image: (N,)."""
    member = F.one_hot(classes, n_classes).to(counts.dtype)
    means = counts @ member / member.sum(0).clamp_min(1)
    return means.argmax(1)
