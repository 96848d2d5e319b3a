"""Baseline: a network trained on all training classes, and a linear classifier on its features for each episode."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import torch
from harness.learning.heads import Heads
from harness.learning.pretrained import PretrainedConfig, PretrainedLearner
from harness.learning.trained_heads import linear
from harness.registry import learners


@learners.register("baseline")
class Baseline(PretrainedLearner):
    """Baseline (Chen, Liu, Kira, Wang & Huang 2019, section 3.2): pre-training, then a softmax classifier for each episode.

    The body is trained with a linear classifier of all training classes and frozen; a new linear classifier is trained on the
    support set's features. They take 100 epochs of mini-batches of 4, with momentum; here every step sees the whole support
    set, without momentum, from zero: the loss is convex.

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch. As a plain
    classifier it is the network that was trained.
    """

    class Config(PretrainedConfig):
        """Switches of ``baseline``."""

        head_lr: float = Field(0.1, gt=0, description="learning rate of those steps")

    config: Config

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """Softmax regression on the features."""
        return linear(support, support_labels, n_way, self.descent())
