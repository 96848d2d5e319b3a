"""Direct random target projection: the label itself, projected, teaches the hidden layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.convolutional import (
    ConvolutionalConfig,
    ConvolutionalLearner,
    ConvolutionalRule,
)
from harness.learning.perceptron import in_turn
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation


@learners.register("drtp", family="error signals")
class Drtp(ConvolutionalLearner):
    """Direct random target projection (Frenkel, Lefebvre & Bol 2021, Front. Neurosci. 15).

    Hidden layer i has the error d_i = (t B_i) f'_i with the one-hot label t and fixed random B_i
    (classes, units): no error comes down from the output, and a layer need not wait for those above
    it. The output minimises the cross-entropy of one sigmoid a class, d_L = sigmoid(z_L) - t.

    A convolution has a B_i for every channel at every place, (classes, C, H, W), which teaches its
    activity before pooling (the authors' code). Its filters change by the sum over places of patch
    times error: the gradient of <h_i, t B_i>. On CIFAR-10 the paper also leaves convolutions random
    (``random_convolutions``) and trains the layers above them.

    The teaching signal of an image never vanishes, so that hidden units saturate. Part of the
    robustness that a gradient attack then finds may be the saturation: see the trust report.
    """

    typical_training_s = 150.0

    class Config(ConvolutionalConfig):
        """Keys of ``drtp``."""

        activation: Literal["relu", "tanh"] = Field(
            "tanh", description="activation function of the hidden layers"
        )
        optimiser: Literal["adam", "sgd"] = Field(
            "adam", description="Adam, or SGD with momentum 0.9"
        )
        random_convolutions: bool = Field(
            False, description="leave the convolutions as they were drawn"
        )

    config: Config

    @property
    def activation(self) -> Activation:
        """Activation function of the hidden layers."""
        return self.config.activation

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule, with its projections."""
        return TargetProjection(tensors, self.config, self.projections(tensors), adapting=adapting)

    def projections(self, tensors: Tensors) -> list[torch.Tensor]:
        """The fixed B_i (classes, units) or (classes, C, H, W), of variance 1 / classes."""
        generator = self.rng.torch("projections")
        output = in_turn(tensors)[-2]
        classes = output.shape[1]
        projections = []
        for shape in self.activity_shapes(tensors):
            normal = torch.randn(classes, *shape, generator=generator)
            projections.append((normal / math.sqrt(classes)).to(output.device))
        return projections


class TargetProjection(ConvolutionalRule):
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        projections: B_i of each hidden layer.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: Drtp.Config,
        projections: list[torch.Tensor],
        *,
        adapting: bool,
    ) -> None:
        super().__init__(
            tensors,
            config,
            adapting=adapting,
            optimiser=config.optimiser,
            activation=config.activation,
        )
        self.projections = projections
        self.random_convolutions = config.random_convolutions

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step."""
        with torch.no_grad():
            passed = self.forward(x)
            logits = passed.logits
            target = F.one_hot(y, logits.shape[1]).to(logits.dtype)
            errors: list[torch.Tensor | None] = []
            for projection, h in zip(self.projections, passed.activities, strict=True):
                if h.ndim == 4 and self.random_convolutions:
                    errors.append(None)
                    continue
                taught = (target @ projection.flatten(1)).view_as(h)
                errors.append(taught * self.slope(h) / len(y))
            output = (torch.sigmoid(logits) - target) / len(y)
            self.learn(passed.inputs, [*errors, output], done)
            loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(y)
            return loss, logits
