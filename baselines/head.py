"""A head alone: on images or embeddings as they are, or on a frozen body trained elsewhere."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import EMBED_BATCH
from harness.learning.fitting import balanced_rows
from harness.learning.frozen_body import FrozenBodyConfig, FrozenBodyLearner
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.rng import Rng


@registry.learners.register("head", family="trained elsewhere")
class Head(FrozenBodyLearner):
    """A head on images or embeddings as they are, or on a frozen body with weights from a file.

    `body: "timm:resnet18"` with `weights: resnet18.safetensors` is one of timm's models; its own
    head is left out. The head is fitted to the training images; each episode gets one of its own.
    """

    mini_batches = False

    typical_training_s = 80.0

    class Config(FrozenBodyConfig):
        """Keys of ``head``."""

        head: HeadName = Field("ridge", description="which head, for classes and for episodes")
        images: int = Field(
            5000, ge=1, description="training images, at most, that the head is fitted to"
        )

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = {
            "weight": torch.zeros(self.body_width, n_classes),
            "bias": torch.zeros(1, n_classes),
        }

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Fit the head to a class-balanced sample; does nothing without labels."""
        log = self.new_log()
        if train.labels is not None:
            count = budget.cap(min(self.config.images, len(train)))
            rows = balanced_rows(train.labels, count, self.rng.child("images of the head"))
            labels = torch.from_numpy(train.labels[rows]).to(self.device)
            images = train.take(rows).tensor(self.device)
            with torch.no_grad():
                embedded = in_batches(self.body(), images, batch_size=EMBED_BATCH)
            fitted = heads.fit(self.config.head, embedded[None], labels[None], self.n_classes)
            self.tensors = {"weight": fitted.weight[0], "bias": fitted.bias[0]}
            log.images_seen = len(rows)
        self.fitted = True
        progress(1.0, "head")
        return log

    def classifier(self) -> nn.Module:
        """The head on the training classes."""
        view = heads.VIEWS[self.config.head]
        weight, bias = self.tensors["weight"], self.tensors["bias"]
        return heads.Heads(weight[None], bias[None], view).on(self.body())

    def connectome(self) -> list[Synapses]:
        """The head: the only weights that are learned here."""
        return [Synapses(READOUT, self.tensors["weight"])]
