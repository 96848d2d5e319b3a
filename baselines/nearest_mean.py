"""The lower bound of every few-shot table: nearest class mean on raw pixels."""

from __future__ import annotations

import math

from pydantic import Field

from harness import registry
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import balanced_rows, labels_of
from harness.learning.going_on import GoingOn, add_to_means, heads_of_known
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.rng import Rng


@registry.learners.register("nearest-mean", family="controls")
class NearestMean(GoingOn, FeatureLearner):
    """Nearest class mean on raw pixels: a lower bound that learns no features.

    Unlabelled images or background classes cannot teach it anything, so its few-shot numbers are
    the same in all three regimes.
    """

    typical_training_s = 1.0

    class Config(registry.Config):
        """Keys of ``nearest-mean``."""

        head: HeadName = Field("nearest-mean", description="few-shot head on the pixels")

    mini_batches = False

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = {
            "means": torch.zeros(n_classes, math.prod(image_shape)),
            "counts": torch.zeros(n_classes, dtype=torch.int64),
        }

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Store the class means of the training images; does nothing without labels."""
        log = TrainingLog()
        if train.labels is not None:
            generator = self.rng.child("images within the budget")
            rows = balanced_rows(train.labels, budget.cap(len(train)), generator)
            labels = torch.from_numpy(train.labels[rows]).to(self.device)
            pixels = train.take(rows).tensor(self.device).flatten(1)
            means = heads.class_means(pixels[None], labels[None], self.n_classes)[0]
            counts = torch.bincount(labels, minlength=self.n_classes)
            self.tensors = {"means": means, "counts": counts}
            log.images_seen = len(rows)
        self.fitted = True
        progress(1.0, "class means")
        return log

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """Add the images to the running class means; ``rivals`` changes nothing, without a loss."""
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        pixels = part.tensor(self.device).flatten(1)
        means, counts = add_to_means(self.tensors["means"], self.tensors["counts"], pixels, labels)
        self.tensors = {"means": means, "counts": counts}
        self.fitted = True
        progress(1.0, "class means")
        return TrainingLog(images_seen=len(part))

    def body(self) -> nn.Module:
        """The flat pixels."""
        return nn.Flatten().eval()

    def classifier(self) -> nn.Module:
        """Minus the scaled squared distance to each class mean; only of classes with images."""
        view = heads.VIEWS[self.config.head]
        means, counts = self.tensors["means"], self.tensors["counts"]
        return heads_of_known(means, counts, view).on(self.body())

    def connectome(self) -> list[Synapses]:
        """Empty: it has no synapses."""
        return []
