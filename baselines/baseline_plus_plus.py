"""Baseline++: like Baseline, with cosines instead of inner products."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, torch
from harness.learning.gradient_heads import cosine_classifier
from harness.learning.heads import Heads
from harness.learning.pretrained import PretrainedConfig, PretrainedLearner
from harness.registry import learners


@learners.register("baseline++", family="few-shot")
class BaselinePlusPlus(PretrainedLearner):
    """Baseline++ (Chen et al. 2019, section 3.2): classifiers by the cosine with class vectors.

    In pre-training and in each episode, logits are `scale` times the cosine of the features with a
    learned vector for each class. The vectors of an episode start at the class means of its support
    set (at random in the paper), and every step sees the whole support set (4 images in the paper).

    Inductive: batch normalisation uses the running statistics of training, never those of a query
    batch. As a plain classifier it is the network that was trained.
    """

    class Config(PretrainedConfig):
        """Keys of ``baseline++``."""

        scale: float = Field(10.0, gt=0, description="factor on cosines before the softmax")

    config: Config

    def training_head(self) -> Heads:
        """The head on the training classes, as that of one episode."""
        vectors, _ = self.head_parameters()
        direction = F.normalize(vectors, dim=0)[None]
        bias = direction.new_zeros(1, 1, self.n_classes)
        return Heads(self.config.scale * direction, bias, "unit")

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """Class vectors, trained on cosines with the features."""
        scale = self.config.scale
        return cosine_classifier(support, support_labels, n_way, self.descent(), scale)
