"""Baseline: a network trained on all training classes, with a new linear classifier per episode."""

from __future__ import annotations

from harness.lazy import torch
from harness.learning.gradient_heads import softmax_regression
from harness.learning.heads import Heads
from harness.learning.pretrained import PretrainedConfig, PretrainedLearner
from harness.registry import learners


@learners.register("baseline", family="few-shot")
class Baseline(PretrainedLearner):
    """Baseline (Chen et al. 2019, section 3.2): pre-training, then a classifier for each episode.

    The body is trained with a linear classifier of all training classes and then frozen. Each
    episode trains a new linear classifier on the support set's features. Chen, Liu, Kira, Wang &
    Huang take 100 epochs of mini-batches of 4 images, with momentum. Here every step sees the whole
    support set, without momentum and from zero: the loss is convex.

    Inductive: batch normalisation uses the running statistics of training, never those of a query
    batch. As a plain classifier it is the network that was trained.
    """

    class Config(PretrainedConfig):
        """Keys of ``baseline``."""

    config: Config

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """Softmax regression on the features."""
        return softmax_regression(support, support_labels, n_way, self.descent())
