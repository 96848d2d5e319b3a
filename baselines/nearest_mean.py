"""The floor of every few-shot table: nearest class mean on raw pixels."""

from __future__ import annotations

from pydantic import Field

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.fitting import UNLIMITED, balanced_rows, labels_of
from harness.learning.heads import FeatureLearner, HeadName
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.registry import Config, learners
from harness.rng import Rng


@learners.register("nearest-mean")
class NearestMean(FeatureLearner):
    """Nearest class mean on raw pixels: a floor that learns no features.

    There is nothing that unlabelled images or background classes could teach it, so its few-shot numbers are the same
    in all three regimes.
    """

    class Config(Config):
        """Switches of ``nearest-mean``."""

        head: HeadName = Field("nearest-mean", description="few-shot head on the pixels")

    config: Config

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        channels, height, width = image_shape
        self.tensors = {"means": torch.zeros(n_classes, channels * height * width)}

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Class means of the training images; without labels there is nothing to do."""
        log = TrainingLog()
        if train.labels is not None:
            rows = balanced_rows(
                train.labels, budget.cap(len(train)), self.rng.child("images within the budget")
            )
            subset = train.take(rows)
            labels = torch.from_numpy(labels_of(subset, self)).to(self.device)
            pixels = subset.tensor(self.device).flatten(1)
            self.tensors = {
                "means": heads.class_means(pixels[None], labels[None], self.n_classes)[0]
            }
            log.images_seen = len(rows)
        self.fitted = True
        progress(1.0, "class means")
        return log

    def body(self) -> nn.Module:
        """The pixels, flat."""
        return nn.Flatten().eval()

    def classifier(self) -> nn.Module:
        """Minus the scaled squared distance to each class mean."""
        return heads.from_means(self.tensors["means"][None], heads.VIEWS[self.config.head]).on(
            self.body()
        )

    def connectome(self) -> list[Synapses]:
        """None: it has no synapses."""
        return []
