"""The other floor: a random, untrained ReLU layer with a linear read-out."""

from __future__ import annotations

import math

from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.fitting import UNLIMITED, balanced_rows
from harness.learning.heads import FeatureLearner, HeadName
from harness.learning.learner import Budget, Progress, Synapses, TrainingLog, silent
from harness.registry import Config, learners
from harness.rng import Rng

READOUT_SHARPNESS = 8.0
"""Scale of the logits: ridge outputs lie between 0 and 1, too flat for a softmax."""

LEAST_PENALTY = 1e-9
"""Of the read-out where features do not differ at all (a single image, say): without it nothing could be solved."""


@learners.register("random-features")
class RandomFeatures(FeatureLearner):
    """A fixed random ReLU layer with a ridge read-out: a floor that learns no features (Rahimi & Recht 2007).

    Its hidden weights never change, so unlabelled images or background classes cannot help its few-shot numbers.
    """

    class Config(Config):
        """Switches of ``random-features``."""

        width: int = Field(1000, ge=1, description="random hidden units")
        ridge: float = Field(
            1e-3,
            gt=0,
            description="penalty of the read-out, as a share of the features' mean power",
        )
        head: HeadName = Field("ridge", description="few-shot head on the random features")

    config: Config

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        pixels, generator = math.prod(image_shape), self.rng.torch("projection")
        projection = torch.randn(pixels, config.width, generator=generator) * math.sqrt(2 / pixels)
        self.tensors = {
            "projection": projection,
            "weight": torch.zeros(config.width, n_classes),
            "bias": torch.zeros(1, n_classes),
        }

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Fit the read-out in closed form; without labels there is nothing to do."""
        log = TrainingLog()
        log.add(self)
        if train.labels is not None:
            rows = balanced_rows(
                train.labels, budget.cap(len(train)), self.rng.child("images within the budget")
            )
            self._fit_readout(train.take(rows))
            log.images_seen = len(rows)
        self.fitted = True
        log.add(self)
        progress(1.0, "read-out")
        return log

    def _fit_readout(self, train: Images) -> None:
        with torch.no_grad():
            features = in_batches(self.body(), train.tensor(self.device), batch_size=1024)
            targets = F.one_hot(
                torch.from_numpy(train.labels).to(self.device), self.n_classes
            ).float()
            mean, prior = features.mean(0, keepdim=True), targets.mean(0, keepdim=True)
            x = features - mean
            gram, moment = (x.T @ x).double(), (x.T @ (targets - prior)).double()
            penalty = self.config.ridge * gram.diagonal().mean()
            gram.diagonal().add_(penalty.clamp_min(LEAST_PENALTY))
            weight = READOUT_SHARPNESS * torch.linalg.solve(gram, moment).float().contiguous()
        self.tensors |= {"weight": weight, "bias": READOUT_SHARPNESS * prior - mean @ weight}

    def body(self) -> nn.Module:
        """The random ReLU layer."""
        from harness.learning.nets import Perceptron

        projection = self.tensors["projection"]
        bias = torch.zeros(1, projection.shape[1], device=projection.device)
        return Perceptron([projection, bias], activity=True)

    def classifier(self) -> nn.Module:
        """The read-out on the random features."""
        from harness.learning.nets import HeadOn

        return HeadOn(self.body(), self.tensors["weight"], self.tensors["bias"])

    def connectome(self) -> list[Synapses]:
        """The read-out, which is all that is plastic."""
        return [Synapses("hidden->output", self.tensors["weight"])]
