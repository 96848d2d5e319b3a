"""A head alone: on images or embeddings as they are, or on a frozen body trained elsewhere."""

from __future__ import annotations

import math
from functools import cached_property

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.body import ChosenBody
from harness.learning.code_names import MayRunCode
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import EMBED_BATCH, FeatureLearner
from harness.learning.files import File
from harness.learning.fitting import balanced_rows
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.normalise import Normalise, moments
from harness.rng import Rng

RANDOM_BODY = "its body has random weights"
"""Remark on a body without a file of weights."""


@registry.learners.register("head")
class Head(FeatureLearner):
    """A head on images or embeddings as they are, or on a frozen body with weights from a file.

    `body: "timm:resnet18"` with `weights: resnet18.safetensors` is one of timm's models; its own
    head is left out. The head is fitted to the training images; each episode gets one of its own.
    """

    mini_batches = False

    class Config(registry.Config):
        """Keys of ``head``."""

        head: HeadName = Field("ridge", description="which head, for classes and for episodes")
        body: ChosenBody | None = Field(
            None,
            description="frozen network below it (`harness list bodies`), timm:name or "
            "package.module:name; null: none",
        )
        weights: File | None = Field(
            None, description="the body's weights: .safetensors, or what torch.save wrote"
        )
        weights_key: str | None = Field(
            None, description="where a checkpoint keeps them, if not in a usual place"
        )
        trust_pickle: MayRunCode = Field(
            False, description="unpickle the file whatever it holds, which may run any code"
        )
        normalise: Normalise | None = Field(
            None, description="mean and std of each channel that the body was trained with"
        )
        images: int = Field(
            5000, ge=1, description="training images, at most, that the head is fitted to"
        )

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        width = self._width()
        self.tensors = {"weight": torch.zeros(width, n_classes), "bias": torch.zeros(1, n_classes)}

    def _width(self) -> int:
        """Values of an embedding."""
        from harness.learning.bodies import embedding_width

        if self.config.body is None:
            return math.prod(self.image_shape)
        return embedding_width(self.frozen_body, self.image_shape)

    @cached_property
    def frozen_body(self) -> nn.Module:
        """Images (B, C, H, W) to embeddings (B, D), in eval mode, on the learner's device."""
        from harness.learning.bodies import freeze
        from harness.networks import sources
        from harness.networks.outputs import Prepared

        config = self.config
        if config.body is None:
            return nn.Flatten().eval()
        body = config.body.untrained(self.image_shape, self.rng.torch("initial weights"))
        if config.weights is not None:
            sources.with_weights(
                body,
                config.weights.checked(),
                key=config.weights_key,
                trust_pickle=config.trust_pickle,
                without_head=True,
            )
        mean, std = moments(config.normalise, self.image_shape[0])
        return freeze(Prepared(body, mean=mean, std=std).to(self.device))

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Fit the head to a class-balanced sample; does nothing without labels."""
        log = TrainingLog()
        if self.config.body is not None and self.config.weights is None:
            log.remarks.append(RANDOM_BODY)
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

    def to(self, device: str | torch.device) -> Head:
        """Move the learner to ``device``."""
        super().to(device)
        self.frozen_body.to(self.device)
        return self

    def body(self) -> nn.Module:
        """The frozen body, or the flat pixels."""
        return self.frozen_body

    def classifier(self) -> nn.Module:
        """The head on the training classes."""
        view = heads.VIEWS[self.config.head]
        weight, bias = self.tensors["weight"], self.tensors["bias"]
        return heads.Heads(weight[None], bias[None], view).on(self.body())

    def connectome(self) -> list[Synapses]:
        """The head: the only weights that are learned here."""
        return [Synapses(READOUT, self.tensors["weight"])]
