"""Backpropagation without weight transport: feedback alignment, direct feedback alignment, sign symmetry."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.lazy import torch
from harness.learning.layerwise import Layers, LayerwiseRule
from harness.learning.supervised import PerceptronConfig, PerceptronLearner, Rule, Tensors, in_turn
from harness.registry import learners


@learners.register("feedback-alignment")
class FeedbackAlignment(PerceptronLearner):
    """Errors that come down through weights of their own: feedback alignment, layered or direct, and sign symmetry.

    With e the output's error and f' the slope of a layer's activation, hidden layer i of L has the error

    - ``layered``: d_i = (d_{i+1} B_{i+1}) f'_i, d_L = e, with fixed random B (Lillicrap et al. 2016, eq. 3);
    - ``direct``: d_i = (e B_i) f'_i, with fixed random B (Nokland 2016, eq. 7);
    - ``sign``: as layered, with B = sign(W^T) of uniform magnitude (Liao, Leibo & Poggio 2016, eq. 5; uSF in BioTorch).

    Weights then change by presynaptic activity times error. With one hidden layer, the first two are one rule.

    What it learns is an ordinary forward network: an attack on ``classifier()`` follows its true gradients. One that went
    through the feedback weights, as a framework that replaces the backward pass would let it, is too weak, and the
    network looks more robust than it is: `tests/benchmarks/feedback_path.py` prints both numbers.
    """

    typical_training_s = 60.0

    class Config(PerceptronConfig):
        """Switches of ``feedback-alignment``."""

        feedback: Literal["layered", "direct", "sign"] = Field(
            "layered", description="what carries the error down"
        )
        activation: Literal["relu", "tanh"] = Field("relu", description="of the hidden layers")
        optimiser: Literal["adam", "sgd"] = Field(
            "adam", description="Adam, or SGD with momentum 0.9"
        )

    config: Config

    @property
    def activation(self) -> str:
        """Of the hidden layers."""
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
        """The fixed weights into each hidden layer, (units that send, units), normal with variance 1 / senders.

        Args:
            tensors: of the network; those of this learner if left out.
        """
        above, generator = in_turn(tensors or self.tensors)[2::2], self.rng.torch("feedback")
        senders = [
            (above[-1] if self.config.feedback == "direct" else weight).shape[1] for weight in above
        ]
        return [
            (torch.randn(n, weight.shape[0], generator=generator) / math.sqrt(n)).to(weight.device)
            for n, weight in zip(senders, above, strict=True)
        ]


class Alignment(LayerwiseRule):
    """The rule at work.

    Args:
        feedback: which, see ``FeedbackAlignment``.
        fixed: feedback weights into each hidden layer; none for ``"sign"``.
        switches: as ``LayerwiseRule`` takes them.
    """

    def __init__(self, *args, feedback: str, fixed: list[torch.Tensor], **switches):
        super().__init__(*args, **switches)
        self.feedback, self.fixed = feedback, fixed

    def errors(self, activities: Layers, output: torch.Tensor) -> Layers:
        """See ``LayerwiseRule``."""
        found, error = [], output
        for i in reversed(range(1, len(activities))):
            error = (
                (output if self.feedback == "direct" else error)
                @ self.down(i)
                * self.slope(activities[i])
            )
            found.append(error)
        return found[::-1]

    def down(self, i: int) -> torch.Tensor:
        """The weights (units that send, units of hidden layer ``i``) that bring the error to that layer."""
        if self.feedback != "sign":
            return self.fixed[i - 1]
        return self.weights[i].T.sign() * math.sqrt(2 / sum(self.weights[i].shape))
