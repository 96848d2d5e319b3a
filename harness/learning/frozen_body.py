"""Learners whose features are the image itself, or a frozen body with weights from a file."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Self

from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.body import ChosenBody
from harness.learning.code_names import MayRunCode
from harness.learning.feature_learner import FeatureLearner
from harness.learning.files import File
from harness.learning.learner import TrainingLog
from harness.learning.normalise import Normalise, moments
from harness.registry import Config

RANDOM_BODY = "its body has random weights"
"""Remark on a body without a file of weights."""


class FrozenBodyConfig(Config):
    """Keys of learners on a frozen body."""

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


class FrozenBodyLearner(FeatureLearner):
    """A learner on features that never change."""

    config: FrozenBodyConfig

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

    @property
    def body_width(self) -> int:
        """Values of the frozen body's embedding."""
        from harness.learning.bodies import embedding_width

        if self.config.body is None:
            return math.prod(self.image_shape)
        return embedding_width(self.frozen_body, self.image_shape)

    def new_log(self) -> TrainingLog:
        """A log that says whether the body has random weights."""
        log = TrainingLog()
        if self.config.body is not None and self.config.weights is None:
            log.remarks.append(RANDOM_BODY)
        return log

    def to(self, device: str | torch.device) -> Self:
        """Move the learner to ``device``."""
        super().to(device)
        self.frozen_body.to(self.device)
        return self

    def body(self) -> nn.Module:
        """The frozen body, or the flat pixels."""
        return self.frozen_body
