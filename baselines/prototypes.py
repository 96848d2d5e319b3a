"""The control of the competitive rules: their layer, with stored or averaged images as weights."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, Self

from pydantic import Field, model_validator

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.clusters import cluster_means, draw_rows, kmeans_step, moved
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import balanced_rows, labels_of, unlabelled_error
from harness.learning.going_on import GoingOn, Imprinting
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
from harness.rules import gated, readouts
from harness.rules.competition import Layer, resolved, uniform_weights
from harness.rules.competitive_learner import training_accuracy
from harness.rules.surprise import log_weight
from harness.rules.training_plan import shuffled_batches

EMBED_BATCH = 512

STEADY_BATCH = 50
"""The same when it goes on, as in ``ech``."""


@registry.learners.register("prototypes", family="controls")
class Prototypes(GoingOn, Imprinting, FeatureLearner):
    """The layer and read-out of `ech` with other weights: k-means, or random training images.

    Whatever `ech` has beyond this control is due to its plasticity; what both have is due to the
    architecture. Both give the code h = softmax(T u), u_j = w_j . x / (|w_j| |x|), which an
    excitatory read-out under the three-factor delta rule reads. Here w_j is the mean direction of a
    cluster of images (spherical k-means, Dhillon & Modha 2001) or one image, and there are no
    homeostatic thresholds.

    Going on, prototypes learn by online spherical k-means (MacQueen 1967): an image moves the
    nearest prototype by 1 / n of the way, after n images that were nearest to it. The first images
    become prototypes themselves. Classes are then read from the mean codes of their images, as in
    the steady mode of `ech`.

    With ``surprise`` the weights are what ``ech`` with the same key would settle at, if its neurons
    won the images of these clusters: mean input and surprise over all images, pruned once.

    Only the read-out uses labels, and the third factor if there is one. Few examples: a head on the
    frozen code. The regime `from_scratch` is not supported: the weights would be the support images
    themselves, which is nearest neighbours.
    """

    typical_training_s = 40.0
    mini_batches = False
    regimes = frozenset({"semi_supervised", "class_transfer"})

    class Config(registry.Config):
        """Keys of ``prototypes``; those of the read-out have the names and defaults of ``ech``."""

        hidden: int = Field(400, ge=2, description="hidden neurons H, one prototype each")
        by: Literal["kmeans", "exemplars"] = Field(
            "kmeans", description="cluster means, or random training images"
        )
        iterations: int = Field(15, ge=1, description="passes of k-means over the training images")
        temperature: float = Field(15.0, gt=0, description="T of the code")
        readout_eta: float = Field(0.03, gt=0, description="read-out rate, in RMS units of log V")
        readout_steps: int = Field(600, ge=1, description="read-out steps")
        readout_batch: int = Field(
            2000, ge=1, description="codes per read-out step, or all if there are fewer"
        )
        clip: float = Field(0.5, gt=0, le=1, description="largest read-out step in log V")
        surprise: float | None = registry.later_key(
            None, gt=0, description="lambda, as in ``ech``; null: weights are the cluster means"
        )
        offset: float = registry.later_key(0.02, gt=0, description="c, as in ``ech``")
        third_factor: float = registry.later_key(
            0.0, ge=0, le=0.1, description="eta_3, as in ``ech``: after the read-out has learned"
        )
        third_factor_epochs: int = registry.later_key(
            2, ge=1, description="passes with the third factor; not made if a budget is too small"
        )
        third_factor_temperature: float = registry.later_key(
            30.0, gt=0, description="T of the competition that the third factor gates"
        )
        prune: float = registry.later_key(
            1.0, ge=0, le=1, description="theta, as in ``ech``; only with ``surprise``"
        )

        @model_validator(mode="after")
        def _learns_one_way(self) -> Self:
            if self.surprise and self.third_factor:
                raise ValueError("surprise and third_factor exclude each other")
            if self.surprise and self.by != "kmeans":
                raise ValueError("surprise needs clusters: by: kmeans")
            return self

        head: HeadName = Field("log-ridge", description="few-shot head on the code, as in ``ech``")

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning: no prototypes, and the read-out of ``ech``."""
        shape = (self.config.hidden, math.prod(self.image_shape))
        self.tensors = {
            "prototypes": torch.zeros(shape, device=self.device),
            "readout": self._initial_readout(),
        }
        self.carried = {}
        self.fitted = False

    def _initial_readout(self) -> torch.Tensor:
        """V (H, classes) before learning."""
        generator = self.rng.torch("readout", self.n_classes)
        weight = uniform_weights(self.config.hidden, self.n_classes, generator=generator)
        return weight.to(self.device)

    @property
    def gain(self) -> float:
        """The gain g of the read-out, as in ``ech``."""
        return self.config.hidden / 10

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Find prototypes from images alone, then train the read-out if there are labels.

        The budget counts an image each time that the hidden layer sees it, and once more for the
        code that the read-out learns from.
        """
        from harness.rules.modules.competitive import inhibited

        self._reset()
        log = TrainingLog()
        log.add(self)
        gated_images = self._gated_images(train, budget)
        hidden_images, readout_images = self._split_budget(train, budget)
        in_hidden, in_first, in_gated, in_second = in_parts(
            progress,
            self.config.iterations * len(train),
            len(train),
            gated_images,
            gated_images and len(train),
        )
        with torch.no_grad():
            images = train.tensor(self.device)
            self._fit_prototypes(inhibited(images), hidden_images, log, in_hidden)
            if train.labels is None:
                del self.tensors["readout"]  # never trained, so there is no classifier
            else:
                chosen = balanced_rows(train.labels, readout_images, self.rng)
                rows = torch.from_numpy(chosen).to(self.device)
                labels = torch.from_numpy(train.labels).to(self.device)
                codes = self._fit_readout(images[rows], labels[rows], "first", log, in_first)
                if gated_images:
                    self._fit_gated(inhibited(images), labels, gated_images, log, in_gated)
                    codes = self._fit_readout(images[rows], labels[rows], "second", log, in_second)
                self.imprint(codes, labels[rows])
        self.fitted = True
        progress(1.0, "")
        return log

    def _gated_images(self, train: Images, budget: Budget) -> int:
        """Images of the third factor: all that are asked for, or none."""
        if not self.config.third_factor or train.labels is None:
            return 0
        rounds = self.config.third_factor_epochs
        everything = (self.config.iterations + rounds + 2) * len(train)
        return rounds * len(train) if budget.cap(everything) == everything else 0

    def _fit_gated(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        count: int,
        log: TrainingLog,
        progress: Progress,
    ) -> None:
        """Move the prototypes under the error of the read-out, as ``ech`` does."""
        config = self.config
        weight = self.tensors["readout"]
        gate = gated.Gate(
            weight,
            gated.centred(weight),
            self.gain,
            config.temperature,
            config.third_factor_temperature,
            config.third_factor,
            config.offset,
        )
        layer = Layer(self.tensors["prototypes"].unsqueeze(0), weight.new_zeros(1, config.hidden))
        batch = min(STEADY_BATCH, len(inputs))
        steps = count // batch
        order = partial(self.rng.torch, "gated order")
        for step, (_, rows) in enumerate(shuffled_batches(len(inputs), batch, steps, order)):
            gated.step(layer, inputs[rows], labels[rows], gate, 1 - step / steps)
            log.images_seen += len(rows)
            log.step(self)
            progress((step + 1) / steps, f"third factor, step {step + 1} of {steps}")

    def _split_budget(self, train: Images, budget: Budget) -> tuple[int, int]:
        """Images for the prototypes, repeats counted, and images for the read-out.

        If the budget is too small for both, the read-out takes up to half of it, or what the
        prototypes leave.
        """
        n = len(train)
        is_kmeans = self.config.by == "kmeans"
        hidden = self.config.iterations * n if is_kmeans else min(self.config.hidden, n)
        labelled = n if train.labels is not None else 0
        total = budget.cap(hidden + labelled)
        readout = 0
        if labelled:
            readout = max(1, min(n, max(total // 2, total - hidden)))
        return max(1, min(hidden, total - readout)), readout

    def _fit_prototypes(
        self, inputs: torch.Tensor, budget: int, log: TrainingLog, progress: Progress
    ) -> None:
        """Set the hidden weights from inputs (N, n) of length one, seeing at most ``budget``."""
        hidden = self.config.hidden

        def drawn(n: int, count: int, *purpose: str | int) -> torch.Tensor:
            return draw_rows(n, count, self.rng.torch(*purpose)).to(inputs.device)

        pool = inputs[drawn(len(inputs), min(budget, len(inputs)), "pool")]
        self.tensors["prototypes"] = pool[drawn(len(pool), hidden, "start")]
        images_each = max(1.0, len(pool) / hidden)
        self.carried["wins"] = pool.new_full((hidden,), images_each, dtype=torch.float64)
        if self.config.by == "exemplars":
            log.images_seen += len(pool)
            return
        passes = min(self.config.iterations, budget // len(pool))
        for i in range(passes):
            spare = pool[drawn(len(pool), hidden, "spare", i)]
            centres, explained = kmeans_step(pool, self.tensors["prototypes"], spare)
            self.tensors["prototypes"] = centres
            log.images_seen += len(pool)
            log.add(self, epoch=i + 1, explained=explained)
            progress((i + 1) / passes, f"k-means {i + 1}/{passes}")
        if self.config.surprise:
            self.tensors["prototypes"] = cluster_means(pool, self.tensors["prototypes"])
            self._note(pool)

    def _fit_readout(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        purpose: str,
        log: TrainingLog,
        progress: Progress,
    ) -> torch.Tensor:
        """Train V by the three-factor delta rule, from its initial state; returns the codes."""
        config = self.config
        codes = resolved(in_batches(self.body(), images, batch_size=EMBED_BATCH))
        targets = readouts.one_hot(labels, self.n_classes)
        self.tensors["readout"] = self._initial_readout()
        weight = self.tensors["readout"].unsqueeze(0)  # steps change it in place
        generator = self.rng.torch("readout batches", purpose)

        def push(v: torch.Tensor) -> torch.Tensor:
            x, t = readouts.draw_batch(codes, targets, config.readout_batch, generator)
            return readouts.delta_drive(x, t, v, self.gain)

        readouts.descend(
            weight,
            push,
            steps=config.readout_steps,
            rate=config.readout_eta,
            clip=config.clip,
            progress=progress,
        )
        log.images_seen += len(codes)
        accuracy = training_accuracy(codes, labels, weight[0], self.gain)
        log.add(self, train_accuracy=accuracy)
        return codes

    # ------------------------------------------------------------------------------------- going on

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass of online k-means; ``rivals`` changes nothing, because there is no loss."""
        from harness.rules.modules.competitive import inhibited

        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        order = torch.randperm(len(part), generator=self.next_call().torch("order"))
        images = part.tensor(self.device)
        with torch.no_grad():
            for rows in order.to(self.device).split(STEADY_BATCH):
                self._move_nearest(inhibited(images[rows]))
            self.imprint(in_batches(self.body(), images, batch_size=EMBED_BATCH), labels)
        self.tensors.pop("readout", None)  # the mean codes take its place
        self.fitted = True
        progress(1.0, "one pass")
        return TrainingLog(images_seen=len(part))

    def _move_nearest(self, inputs: torch.Tensor) -> None:
        """Fill free prototypes, then move the nearest to each of the inputs (B, n) that remain."""
        if self.config.surprise:
            self._note(inputs)
        prototypes = self.tensors["prototypes"].clone()
        no_wins = prototypes.new_zeros(len(prototypes), dtype=torch.float64)
        wins = self.carried.get("wins", no_wins).clone()
        new = torch.where(wins == 0)[0][: len(inputs)]
        prototypes[new] = inputs[: len(new)]
        wins[new] = 1
        if self.config.by == "kmeans":
            prototypes, wins = moved(prototypes, wins, inputs[len(new) :])
        self.tensors["prototypes"] = prototypes
        self.carried["wins"] = wins

    # ---------------------------------------------------------------------------- code and state

    def _note(self, inputs: torch.Tensor) -> None:
        """Add inputs (B, n) to the statistics that a surprise is measured against."""
        x = inputs.double()
        new = torch.stack([torch.ones_like(x[0]).mul_(len(x)), x.sum(0), x.square().sum(0)])
        self.carried["statistics"] = self.carried.get("statistics", 0) + new

    def weights(self) -> torch.Tensor:
        """Weights of the hidden layer, (H, n): the prototypes or, with ``surprise``, of them."""
        prototypes = self.tensors["prototypes"]
        config = self.config
        if config.surprise is None or "statistics" not in self.carried:
            return prototypes
        count, total, square = self.carried["statistics"]
        mean = total / count
        deviation = (square / count - mean.square()).clamp_min(0).sqrt()
        mean, deviation = mean.to(prototypes)[None], deviation.to(prototypes)[None]
        logs = log_weight(prototypes, mean, deviation, config.surprise, config.offset)
        weight = (logs - logs.mean(1, keepdim=True)).exp()
        return weight * (weight >= config.prune * weight.mean(1, keepdim=True))

    def body(self) -> nn.Module:
        """Images to the code, by the same module as in ``ech``."""
        from harness.rules.modules.competitive import CompetitiveCode

        weight = self.weights()
        no_thresholds = weight.new_zeros(len(weight))
        return CompetitiveCode(weight, no_thresholds, self.config.temperature).eval()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The code h, (B, C, H, W) to (B, hidden)."""
        with torch.no_grad():
            return in_batches(self.body(), images, batch_size=EMBED_BATCH)

    def classifier(self) -> nn.Module:
        """The excitatory read-out of the code; that of the mean codes, once it has gone on.

        Raises:
            HarnessError: It was not trained on labels.
        """
        from harness.rules.modules.competitive import ExcitatoryReadout

        if "readout" not in self.tensors:
            if "means" not in self.carried:
                raise unlabelled_error(self.kind)
            return self.nearest_imprint(self.body())
        readout = ExcitatoryReadout(self.tensors["readout"].clone(), self.gain)
        return nn.Sequential(self.body(), readout).eval()

    def connectome(self) -> list[Synapses]:
        """Prototypes, whose black or pruned pixels are no synapses, and the read-out if trained."""
        weight = self.weights().T
        bundles = [Synapses("input->hidden", weight, weight > 0)]
        if "readout" in self.tensors:
            bundles.append(Synapses(READOUT, self.tensors["readout"]))
        elif "means" in self.carried:
            bundles.append(self.imprinted())
        return bundles
