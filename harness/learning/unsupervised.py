"""Learners whose features learn from images alone, before a read-out learns labels."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field

from harness.data.base import Images
from harness.lazy import torch
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import balanced_rows
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, TrainingLog, silent
from harness.registry import Config
from harness.rng import Rng


class UnsupervisedConfig(Config):
    """Keys of every learner of unsupervised features with a read-out."""

    epochs: int = Field(
        20,
        ge=0,
        description="passes over the training images for the features; 0 leaves them random",
    )
    batch_size: int = Field(100, ge=1, description="images per step of the features")
    lr: float = Field(0.02, gt=0, description="rate of the features; falls linearly to zero")
    readout_epochs: int = Field(20, ge=1, description="passes of the read-out over the codes")
    readout_lr: float = Field(
        1e-2, gt=0, description="Adam's rate for the read-out; falls linearly to zero"
    )
    head: HeadName = Field("ridge", description="few-shot head on the code")


class UnsupervisedLearner(FeatureLearner):
    """Features that learn from images alone, and a read-out ``readout`` and ``readout_bias``.

    A subclass defines the state before learning (``_reset``), and how features (``_fit_hidden``)
    and read-out (``_fit_readout``) learn. Few examples: a head on the frozen features.
    """

    regimes = frozenset({"semi_supervised", "class_transfer"})

    config: UnsupervisedConfig

    def __init__(
        self,
        config: UnsupervisedConfig,
        image_shape: tuple[int, int, int],
        n_classes: int,
        rng: Rng,
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    @abstractmethod
    def _reset(self) -> None:
        """Return to the state before learning."""

    @abstractmethod
    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        """Let the features learn.

        Args:
            images: (N, C, H, W).
            total: Images to learn from, repeats counted.
            log: Gets a row for each epoch.
            progress: Called with up to 0.8.
        """

    @abstractmethod
    def _fit_readout(
        self, images: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        """Let the read-out learn from images (N, C, H, W) and labels (N,)."""

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train the features on images alone, then the read-out if there are labels.

        The budget counts an image each time that the features see it, and once more for the code
        that the read-out learns from.
        """
        self._reset()
        log = TrainingLog()
        log.add(self)
        hidden_images, readout_images = self._split_budget(train, budget)
        with torch.no_grad():
            images = train.tensor(self.device)
            self._fit_hidden(images, hidden_images, log, progress)
            if train.labels is None:
                # The read-out was never trained, so there is no classifier.
                del self.tensors["readout"]
                del self.tensors["readout_bias"]
            else:
                chosen = balanced_rows(train.labels, readout_images, self.rng)
                rows = torch.from_numpy(chosen).to(self.device)
                labels = torch.from_numpy(train.labels).to(self.device)
                self._fit_readout(images[rows], labels[rows], log, progress)
        self.fitted = True
        progress(1.0, "")
        return log

    def wanted(self, images: int) -> int:
        """Images that the features see without a budget, repeats counted."""
        return self.config.epochs * images

    def _split_budget(self, train: Images, budget: Budget) -> tuple[int, int]:
        """Images for the features, repeats counted, and images for the read-out.

        If the budget is too small for both, the read-out takes up to half of it.
        """
        hidden = self.wanted(len(train))
        labelled = len(train) if train.labels is not None else 0
        total = budget.cap(hidden + labelled)
        readout = min(labelled, max(1, total // 2, total - hidden))
        return max(min(1, hidden), total - readout), readout
