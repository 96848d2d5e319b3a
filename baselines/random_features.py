"""The other lower bound: a random, untrained ReLU layer with a linear read-out."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import balanced_rows
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.rng import Rng

READOUT_SHARPNESS = 8.0
"""Scale of the logits: ridge outputs are between 0 and 1, too flat for a softmax."""

SMALLEST_PENALTY = 1e-9
"""Penalty if features do not differ at all (e.g. for a single image): it keeps them solvable."""


@registry.learners.register("random-features", family="controls")
class RandomFeatures(FeatureLearner):
    """A fixed random ReLU layer with a ridge read-out: it learns no features (Rahimi & Recht 2007).

    Its hidden weights never change, so unlabelled images or background classes cannot improve its
    few-shot numbers.
    """

    typical_training_s = 5.0

    class Config(registry.Config):
        """Keys of ``random-features``."""

        width: int = Field(1000, ge=1, description="random hidden units")
        ridge: float = Field(
            1e-3,
            gt=0,
            description="penalty of the read-out, as a share of the features' mean power",
        )
        head: HeadName = Field("ridge", description="few-shot head on the random features")

    mini_batches = False

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        pixels = math.prod(image_shape)
        normal = torch.randn(pixels, config.width, generator=self.rng.torch("projection"))
        self.tensors = {
            "projection": normal * math.sqrt(2 / pixels),
            "weight": torch.zeros(config.width, n_classes),
            "bias": torch.zeros(1, n_classes),
        }

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Fit the read-out in closed form; does nothing without labels."""
        log = TrainingLog()
        log.add(self)
        if train.labels is not None:
            generator = self.rng.child("images within the budget")
            rows = balanced_rows(train.labels, budget.cap(len(train)), generator)
            self._fit_readout(train.take(rows), train.labels[rows])
            log.images_seen = len(rows)
        self.fitted = True
        log.add(self)
        progress(1.0, "read-out")
        return log

    def _fit_readout(self, train: Images, labels: np.ndarray) -> None:
        """Ridge regression to one-hot labels: w = (X^T X + p I)^-1 X^T Y, X and Y centred."""
        with torch.no_grad():
            features = in_batches(self.body(), train.tensor(self.device), batch_size=1024)
            targets = F.one_hot(torch.from_numpy(labels).to(self.device), self.n_classes).float()
            mean = features.mean(0, keepdim=True)
            prior = targets.mean(0, keepdim=True)
            x = features - mean
            gram = (x.T @ x).double()
            moment = (x.T @ (targets - prior)).double()
            penalty = self.config.ridge * gram.diagonal().mean()
            gram.diagonal().add_(penalty.clamp_min(SMALLEST_PENALTY))
            solution = torch.linalg.solve(gram, moment).float().contiguous()
            weight = READOUT_SHARPNESS * solution
        self.tensors["weight"] = weight
        self.tensors["bias"] = READOUT_SHARPNESS * prior - mean @ weight

    def body(self) -> nn.Module:
        """The random ReLU layer."""
        from harness.learning.nets import Perceptron

        projection = self.tensors["projection"]
        bias = torch.zeros(1, projection.shape[1], device=projection.device)
        return Perceptron([projection, bias], activity=True)

    def classifier(self) -> nn.Module:
        """The read-out of the random features."""
        from harness.learning.nets import LinearHead

        return LinearHead(self.body(), self.tensors["weight"], self.tensors["bias"])

    def connectome(self) -> list[Synapses]:
        """The read-out, the only plastic weights."""
        return [Synapses(READOUT, self.tensors["weight"])]
