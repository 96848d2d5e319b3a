"""Backpropagation without weight transport: (direct) feedback alignment and sign symmetry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.lazy import torch
from harness.learning.layerwise import Layers, LayerwiseRule
from harness.learning.optimisers import OptimiserName
from harness.learning.perceptron import PerceptronConfig, PerceptronLearner, in_turn
from harness.learning.supervised import Rule, SupervisedConfig, Tensors
from harness.registry import learners

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation

Feedback = Literal["layered", "direct", "sign"]


@learners.register("feedback-alignment", family="error signals")
class FeedbackAlignment(PerceptronLearner):
    """Errors carried down by separate weights: feedback alignment or sign symmetry.

    With e the output's error and f' the slope of a layer's activation, hidden layer i of L has the
    error

    - ``layered``: d_i = (d_{i+1} B_{i+1}) f'_i, d_L = e, with fixed random B (Lillicrap et al.
      2016, eq. 3);
    - ``direct``: d_i = (e B_i) f'_i, with fixed random B (Nokland 2016, eq. 7);
    - ``sign``: as layered, with B = sign(W^T) of uniform magnitude (Liao, Leibo & Poggio 2016,
      eq. 5; uSF in BioTorch).

    Weights then change by presynaptic activity times error. With one hidden layer, the first two
    are the same rule.

    The result is an ordinary forward network, and an attack on ``classifier()`` follows its true
    gradients. An attack through the feedback weights, which a framework that replaces the backward
    pass would run, is too weak: the network looks more robust than it is.
    `tests/benchmarks/feedback_path.py` prints both numbers.
    """

    typical_training_s = 120.0

    class Config(PerceptronConfig):
        """Keys of ``feedback-alignment``."""

        feedback: Feedback = Field("layered", description="what carries the error down")
        activation: Literal["relu", "tanh"] = Field(
            "relu", description="activation function of the hidden layers"
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
        """The rule, with its feedback weights."""
        config = self.config
        fixed = [] if config.feedback == "sign" else self.feedback(tensors)
        return Alignment(
            tensors,
            config,
            feedback=config.feedback,
            fixed=fixed,
            optimiser=config.optimiser,
            activation=config.activation,
            adapting=adapting,
        )

    def feedback(self, tensors: Tensors | None = None) -> list[torch.Tensor]:
        """The fixed weights (senders, units) into each hidden layer, of variance 1 / senders.

        Args:
            tensors: Those of the network; those of this learner if left out.
        """
        generator = self.rng.torch("feedback")
        above = in_turn(tensors or self.tensors)[2::2]
        fixed = []
        for weight in above:
            sender = above[-1] if self.config.feedback == "direct" else weight
            n = sender.shape[1]
            normal = torch.randn(n, weight.shape[0], generator=generator)
            fixed.append((normal / math.sqrt(n)).to(weight.device))
        return fixed


class Alignment(LayerwiseRule):
    """The rule, training one network.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        feedback: Which feedback, see ``FeedbackAlignment``.
        fixed: Feedback weights into each hidden layer; none for ``"sign"``.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
        optimiser: ``"adam"`` or ``"sgd"``.
        activation: Activation function of the hidden layers.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: SupervisedConfig,
        *,
        feedback: Feedback,
        fixed: list[torch.Tensor],
        adapting: bool,
        optimiser: OptimiserName = "adam",
        activation: Activation = "relu",
    ) -> None:
        super().__init__(
            tensors, config, adapting=adapting, optimiser=optimiser, activation=activation
        )
        self.feedback = feedback
        self.fixed = fixed

    def errors(self, inputs: Layers, output: torch.Tensor) -> Layers:
        """The error of each hidden layer, see ``LayerwiseRule``."""
        from_top = []
        error = output
        for i in reversed(range(1, len(inputs))):
            sent = output if self.feedback == "direct" else error
            error = sent @ self.weights_down(i) * self.slope(inputs[i])
            from_top.append(error)
        return from_top[::-1]

    def weights_down(self, i: int) -> torch.Tensor:
        """The weights (senders, units) that carry the error to hidden layer ``i``."""
        if self.feedback != "sign":
            return self.fixed[i - 1]
        weight = self.weights[i]
        magnitude = math.sqrt(2 / sum(weight.shape))
        return weight.T.sign() * magnitude
