"""Direct random target projection: the label itself, projected, teaches the hidden layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.layerwise import HandwrittenRule
from harness.learning.perceptron import PerceptronConfig, PerceptronLearner, in_turn
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation


@learners.register("drtp", family="error signals")
class Drtp(PerceptronLearner):
    """Direct random target projection (Frenkel, Lefebvre & Bol 2021, Front. Neurosci. 15).

    Hidden layer i has the error d_i = (t B_i) f'_i with the one-hot label t and fixed random B_i
    (classes, units): no error comes down from the output, and a layer need not wait for those above
    it. The output minimises the cross-entropy of one sigmoid a class, d_L = sigmoid(z_L) - t.

    The teaching signal of an image never vanishes, so that hidden units saturate. Part of the
    robustness that a gradient attack then finds may be the saturation: see the trust report.
    """

    typical_training_s = 150.0

    class Config(PerceptronConfig):
        """Keys of ``drtp``."""

        activation: Literal["relu", "tanh"] = Field(
            "tanh", description="activation function of the hidden layers"
        )
        optimiser: Literal["adam", "sgd"] = Field(
            "adam", description="Adam, or SGD with momentum 0.9"
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
        """The fixed B_i (classes, units), of variance 1 / classes."""
        generator = self.rng.torch("projections")
        weights = in_turn(tensors)[::2]
        classes = weights[-1].shape[1]
        projections = []
        for weight in weights[:-1]:
            normal = torch.randn(classes, weight.shape[1], generator=generator)
            projections.append((normal / math.sqrt(classes)).to(weight.device))
        return projections


class TargetProjection(HandwrittenRule):
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

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step."""
        with torch.no_grad():
            inputs, logits = self.run(x.flatten(1))
            target = F.one_hot(y, logits.shape[1]).to(logits.dtype)
            errors = [
                target @ projection * self.slope(h) / len(y)
                for projection, h in zip(self.projections, inputs[1:], strict=True)
            ]
            output = (torch.sigmoid(logits) - target) / len(y)
            self.learn(inputs, [*errors, output], done)
            loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(y)
            return loss, logits
