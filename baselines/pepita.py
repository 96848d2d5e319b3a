"""PEPITA: the error, projected onto the image, is read off a second forward pass."""

from __future__ import annotations

import math

from pydantic import Field

from harness.budgets import Budget
from harness.lazy import F, torch
from harness.learning.adversarial import pgd_examples
from harness.learning.convolutional import (
    ConvolutionalConfig,
    ConvolutionalLearner,
    ConvolutionalRule,
)
from harness.learning.layerwise import Layers
from harness.learning.perceptron import Hidden, in_turn
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

DECAYS = (0.6, 0.9)
"""Shares of training after which the rate is divided by ten."""


@learners.register("pepita", family="error signals")
class Pepita(ConvolutionalLearner):
    """Present the Error to Perturb the Input To modulate Activity (Dellaferrera & Kreiman 2022).

    The first pass on image x gives activities h_i and the output's error e = softmax(h_L) - t. The
    second, on x' = x + e F with a fixed random F (classes, pixels), gives h'_i. Then
    (algorithm 1 of the paper)

        dW_i = -lr (h'_{i-1})^T (h_i - h'_i),        dW_L = -lr (h'_{L-1})^T e',        h'_0 = x'.

    Both passes share one dropout mask, and there are no biases. F is uniform with He's variance,
    times ``feedback_scale``. With one linear hidden layer and small F, this is direct feedback
    alignment with feedback -F W_1.

    The filters of a convolution take, at each place, the patch of the second pass times h_i - h'_i,
    both before pooling, averaged over places (the authors' code). The layer above reads the pooled
    activity.

    With ``adversarial_eps`` both passes see adversarial examples, made by PGD on the forward pass
    (adversarial training, arXiv 2309.17348).

    A budget of images counts an image once, although two passes are made.
    """

    typical_training_s = 200.0

    class Config(ConvolutionalConfig):
        """Keys of ``pepita``."""

        hidden: Hidden = Field(
            1024, description="units in the hidden layer, or a list with one entry per layer"
        )
        lr: float = Field(
            0.1,
            gt=0,
            description="learning rate of SGD with momentum 0.9; a tenth of it after 60 % of "
            "training, a hundredth after 90 %",
        )
        adapt_lr: float = Field(
            0.01, gt=0, description="learning rate on a support set, which stays constant"
        )
        batch_size: int = Field(64, ge=1, description="images per training step")
        feedback_scale: float = Field(
            0.05, gt=0, description="factor on He's deviation of the projection F"
        )
        dropout: float = Field(
            0.1, ge=0, lt=1, description="share of hidden units that are silent in a step"
        )
        adversarial_eps: Budget = Field(
            0.0, ge=0, le=1, description="Linf budget of adversarial training; 0: without"
        )
        adversarial_steps: int = Field(
            10, ge=1, description="PGD steps, each 2.5 / steps of the budget"
        )

    config: Config

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The rule, with its projection."""
        return ErrorToInput(
            tensors,
            self.config,
            self.projection(tensors),
            self.activity_shapes(tensors),
            self.rng.torch("dropout"),
            self.rng.torch("adversarial start"),
            adapting=adapting,
        )

    def projection(self, tensors: Tensors) -> torch.Tensor:
        """The fixed F (classes, pixels)."""
        pixels = math.prod(self.image_shape)
        classes = in_turn(tensors)[-2].shape[1]
        bound = self.config.feedback_scale * math.sqrt(6 / pixels)
        uniform = torch.rand(classes, pixels, generator=self.rng.torch("projection"))
        return ((2 * uniform - 1) * bound).to(self.device)


class ErrorToInput(ConvolutionalRule):
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        projection: F.
        units: Shape of each hidden layer's activity for one image.
        generator: Draws dropout masks.
        start: Draws the starts of adversarial examples.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    biased = False

    def __init__(
        self,
        tensors: Tensors,
        config: Pepita.Config,
        projection: torch.Tensor,
        units: list[torch.Size],
        generator: torch.Generator,
        start: torch.Generator,
        *,
        adapting: bool,
    ) -> None:
        super().__init__(tensors, config, adapting=adapting, optimiser="sgd")
        self.config = config
        self.start = start
        self.projection = projection
        self.units = units
        self.generator = generator
        self.dropout = config.dropout

    def rate(self, done: float) -> float:
        """Factor on the learning rate when the share ``done`` of training is over."""
        if not self.rate_falls:
            return 1.0
        return 0.1 ** sum(done >= share for share in DECAYS)

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step: two passes, then every layer by its own two activities."""
        config = self.config
        if config.adversarial_eps:
            x = pgd_examples(
                lambda images: self.forward(images).logits,
                x,
                y,
                eps=config.adversarial_eps,
                steps=config.adversarial_steps,
                generator=self.start,
            )
        with torch.no_grad():
            kept = self._masks(len(x)) if self.dropout else None
            first = self.forward(x, kept)
            target = F.one_hot(y, first.logits.shape[1])
            error = first.logits.softmax(1) - target
            second = self.forward(x + (error @ self.projection).view_as(x), kept)
            errors = []
            for h, h2 in zip(first.activities, second.activities, strict=True):
                places = h[0, 0].numel()  # 1 in a dense layer
                errors.append((h - h2) / (len(y) * places))
            output = (second.logits.softmax(1) - target) / len(y)
            self.learn(second.inputs, [*errors, output], done)
            return F.cross_entropy(first.logits, y), first.logits

    def _masks(self, batch: int) -> Layers:
        """What dropout multiplies the activity of each hidden layer by: 0 or 1 / (1 - dropout)."""
        masks = []
        for units in self.units:
            uniform = torch.rand(batch, *units, generator=self.generator)
            masks.append((uniform >= self.dropout).to(self.weights[0]) / (1 - self.dropout))
        return masks
