"""The control for every competitive rule: the same layer and read-out, with stored or averaged images as weights."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learning.fitting import UNLIMITED, balanced_rows
from harness.learning.heads import FeatureLearner, HeadName
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.registry import Config, learners
from harness.rng import Rng
from harness.rules import readouts

EMBED_BATCH = 512

ASSIGN_BATCH = 4096
"""Images compared with all prototypes at once."""


@learners.register("prototypes")
class Prototypes(FeatureLearner):
    """The architecture and read-out of `ech` with other hidden weights: spherical k-means, or random training images.

    What `ech` has beyond this control is due to its plasticity; what both have is due to the architecture. Both give
    the code h = softmax(T u), u_j = w_j . x / (|w_j| |x|), which an excitatory read-out under the delta rule of three
    factors reads. Here w_j is the mean direction of a cluster of images (Dhillon & Modha 2001), or one image, and there
    are no homeostatic thresholds.

    Labels serve the read-out alone. Few examples: a head on the frozen code. There is no regime `from_scratch`, where
    the weights would be the support images themselves: nearest neighbours.
    """

    typical_training_s = 5.0
    regimes = frozenset({"semi_supervised", "class_transfer"})

    class Config(Config):
        """Switches of ``prototypes``; those of the read-out are named, and set, as in ``ech``."""

        hidden: int = Field(400, ge=2, description="hidden neurons H, one prototype each")
        by: Literal["kmeans", "exemplars"] = Field(
            "kmeans", description="cluster means, or random training images"
        )
        iterations: int = Field(15, ge=1, description="passes of k-means over the training images")
        temperature: float = Field(15.0, gt=0, description="T of the code")
        readout_eta: float = Field(0.03, gt=0, description="read-out rate, in RMS units of log V")
        readout_steps: int = Field(600, ge=1, description="read-out steps")
        readout_batch: int = Field(
            2000, ge=1, description="codes a read-out step; all of them where there are fewer"
        )
        clip: float = Field(0.5, gt=0, le=1, description="largest read-out step in log V")
        head: HeadName = Field("log-ridge", description="few-shot head on the code, as in ``ech``")

    config: Config

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        self._start()

    def _start(self) -> None:
        """No prototypes; a young read-out V ~ U(0.01, 0.1), as in ``ech``."""
        hidden = self.config.hidden
        draw = torch.rand(
            hidden, self.n_classes, generator=self.rng.torch("readout", self.n_classes)
        )
        self.tensors = {
            "prototypes": torch.zeros(hidden, math.prod(self.image_shape), device=self.device),
            "readout": (0.01 + 0.09 * draw).to(self.device),
        }
        self.fitted = False

    @property
    def _gain(self) -> float:
        """Of the read-out, as in ``ech``."""
        return self.config.hidden / 10

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Prototypes from images alone; then, where there are labels, the read-out.

        Against the budget each look of the hidden layer at an image counts, and one more for the code that is read out.
        """
        from harness.rules.modules.competitive import inhibited

        self._start()
        log = TrainingLog()
        log.add(self)
        looks, labelled = self._course(train, budget)
        with torch.no_grad():
            images = train.tensor(self.device)
            self._fit_prototypes(inhibited(images), looks, log, progress)
            if train.labels is None:
                del self.tensors["readout"]  # never learned: there is no classifier
            else:
                rows = torch.from_numpy(balanced_rows(train.labels, labelled, self.rng)).to(
                    self.device
                )
                self._fit_readout(
                    images[rows], torch.from_numpy(train.labels).to(self.device)[rows], log
                )
        self.fitted = True
        progress(1.0, "")
        return log

    def _course(self, train: Images, budget: Budget) -> tuple[int, int]:
        """Looks for the prototypes, images for the read-out. Where the budget is smaller, these get up to half, or more
        if the prototypes leave more.
        """
        config, n, labelled = self.config, len(train), train.labels is not None
        hidden = config.iterations * n if config.by == "kmeans" else min(config.hidden, n)
        left = budget.cap(hidden + n * labelled)
        share = max(1, min(n, max(left // 2, left - hidden))) if labelled else 0
        return max(1, min(hidden, left - share)), share

    def _fit_prototypes(
        self, inputs: torch.Tensor, looks: int, log: TrainingLog, progress: Progress
    ) -> None:
        """The hidden weights from at most ``looks`` looks at inputs (N, n) of length one."""
        pool = inputs[
            _draw(len(inputs), min(looks, len(inputs)), self.rng.torch("pool")).to(inputs.device)
        ]
        start = _draw(len(pool), self.config.hidden, self.rng.torch("start")).to(inputs.device)
        self.tensors["prototypes"] = pool[start]
        if self.config.by == "exemplars":
            log.images_seen += len(pool)
            return
        passes = min(self.config.iterations, looks // len(pool))
        for i in range(passes):
            spare = pool[
                _draw(len(pool), self.config.hidden, self.rng.torch("spare", i)).to(inputs.device)
            ]
            self.tensors["prototypes"], explained = kmeans_step(
                pool, self.tensors["prototypes"], spare
            )
            log.images_seen += len(pool)
            log.add(self, epoch=i + 1, explained=explained)
            progress(0.5 * (i + 1) / passes, f"k-means {i + 1}/{passes}")

    def _fit_readout(self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog) -> None:
        """V by the delta rule of three factors: all that uses labels."""
        config, steps = self.config, self.config.readout_steps
        codes = in_batches(self.body(), images, batch_size=EMBED_BATCH)
        targets, size = (
            readouts.one_hot(labels, self.n_classes),
            min(config.readout_batch, len(codes)),
        )
        weight = self.tensors["readout"].unsqueeze(0)  # steps are in place
        generator = self.rng.torch("readout batches", "first")
        for step in range(steps):
            rows = slice(None)
            if size < len(codes):
                rows = torch.randint(len(codes), (size,), generator=generator).to(self.device)
            push = readouts.delta_drive(
                codes[rows].unsqueeze(0), targets[rows].unsqueeze(0), weight, self._gain
            )
            readouts.step(weight, push, config.readout_eta * (1 - step / steps), config.clip)
        log.images_seen += len(codes)
        right = readouts.logits(codes.unsqueeze(0), weight, self._gain)[0].argmax(1) == labels
        log.add(self, train_accuracy=right.float().mean().item())

    def body(self) -> nn.Module:
        """Images to the code, by the very module that ``ech`` runs."""
        from harness.rules.modules.competitive import CompetitiveCode

        prototypes = self.tensors["prototypes"]
        return CompetitiveCode(
            prototypes, prototypes.new_zeros(len(prototypes)), self.config.temperature
        ).eval()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The code h, (B, C, H, W) to (B, hidden)."""
        with torch.no_grad():
            return in_batches(self.body(), images, batch_size=EMBED_BATCH)

    def classifier(self) -> nn.Module:
        """The excitatory read-out on the code.

        Raises:
            HarnessError: it was not trained on labels.
        """
        from harness.rules.modules.competitive import ExcitatoryReadout

        if "readout" not in self.tensors:
            raise HarnessError(
                "this prototypes learner was trained without labels and has no classifier",
                hint="use adapt() with a support set, or fit it on labelled images",
            )
        return nn.Sequential(
            self.body(), ExcitatoryReadout(self.tensors["readout"].clone(), self._gain)
        ).eval()

    def connectome(self) -> list[Synapses]:
        """Prototypes, whose black pixels are absent synapses, and the read-out where there is one."""
        weight = self.tensors["prototypes"].T
        bundles = [Synapses("input->hidden", weight, weight > 0)]
        return (
            [*bundles, Synapses("hidden->output", self.tensors["readout"])]
            if "readout" in self.tensors
            else bundles
        )


def kmeans_step(
    inputs: torch.Tensor, centres: torch.Tensor, spare: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """One pass of spherical k-means: each input goes to the centre of largest cosine, each centre to its inputs' mean.

    Args:
        inputs: (N, n) of length one, or 0 (a black image), non-negative.
        centres: (H, n) of length one, or 0.
        spare: (H, n), what a centre becomes that got nothing.

    Returns:
        Centres (H, n), and the mean cosine of the inputs with those they went to.
    """
    sums, explained = torch.zeros_like(centres, dtype=torch.float64), 0.0
    for batch in inputs.split(ASSIGN_BATCH):
        cosine, nearest = (batch @ centres.T).max(1)
        sums.index_add_(0, nearest, batch.double())
        explained += cosine.sum().item()
    length = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
    means = (sums / length.clamp_min(1e-12)).to(centres.dtype)
    return torch.where(length > 0, means, spare), explained / len(inputs)


def _draw(n: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` rows out of n, none twice before all have come once."""
    rows = torch.randperm(n, generator=generator)
    return rows.repeat(-(-count // n))[:count]
