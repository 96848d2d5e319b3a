"""Baseline++: as Baseline, with cosines in place of inner products."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.heads import Heads
from harness.learning.pretrained import PretrainedConfig, PretrainedLearner
from harness.learning.trained_heads import cosine
from harness.registry import learners


@learners.register("baseline++")
class BaselinePlusPlus(PretrainedLearner):
    """Baseline++ (Chen, Liu, Kira, Wang & Huang 2019, section 3.2): classifiers by the cosine with a vector for each class.

    In pre-training and in each episode, logits are `scale` times the cosine of the features with a learned vector for each
    class. An episode's vectors start at the class means of its support set (theirs at random) and every step sees the whole
    support set (theirs 4 images).

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch. As a plain
    classifier it is the network that was trained.
    """

    class Config(PretrainedConfig):
        """Switches of ``baseline++``."""

        scale: float = Field(10.0, gt=0, description="factor on cosines before the softmax")
        head_lr: float = Field(0.1, gt=0, description="learning rate of those steps")

    config: Config

    def training_head(self) -> Heads:
        """The head on the training classes, as one episode's."""
        direction = F.normalize(self.parts["head"][0], dim=0)[None]
        return Heads(
            self.config.scale * direction, direction.new_zeros(1, 1, self.n_classes), "unit"
        )

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """Class vectors, by the cosine with the features."""
        return cosine(support, support_labels, n_way, self.descent(), self.config.scale)
