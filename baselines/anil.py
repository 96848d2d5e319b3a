"""ANIL: MAML whose inner steps change the output layer alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from harness.lazy import F, nn, torch
from harness.learning.feature_learner import FeatureLearner
from harness.learning.fitting import EpisodeShape, accuracy, episode_targets, unfitted_error
from harness.learning.gradient_heads import GradientDescent, softmax_regression
from harness.learning.heads import Heads
from harness.learning.meta import Episode, MetaConfig, MetaLearner
from harness.registry import learners


@learners.register("anil", family="few-shot")
class Anil(FeatureLearner, MetaLearner):
    """ANIL, almost no inner loop (Raghu et al. 2020, equation 2): MAML that adapts the head alone.

    The inner steps, in training and after, change the output layer alone, from zero. The outer
    steps change the body by the gradient through them. All episodes of a meta-batch pass through
    the body at once and are adapted together.

    Raghu, Raghu, Bengio & Vinyals report 96.2 % for Omniglot's 20-way 1-shot, transductively. Here
    it is inductive, like `maml`.
    """

    typical_training_s = 30.0

    class Config(MetaConfig):
        """Keys of ``anil``, the same as those of ``maml``."""

    config: Config

    def body(self) -> nn.Module:
        """The body, frozen."""
        from harness.learning.bodies import freeze

        return freeze(copy.deepcopy(self.network.body))

    def classifier(self) -> nn.Module:
        """The output layer that the sample which ``fit`` kept gives, on top of the body.

        Raises:
            HarnessError: It was not trained; there is no output layer before that.
        """
        if not self.fitted:
            raise unfitted_error(self.kind)
        return super().classifier()

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """``adapt_steps`` gradient steps of the output layer."""
        descent = GradientDescent(self.config.adapt_steps, self.config.inner_lr)
        return softmax_regression(support, support_labels, n_way, descent)

    def meta_gradient(
        self, batch: Sequence[Episode], shape: EpisodeShape, iteration: int
    ) -> tuple[float, float]:
        """As for MAML, with one pass through the body for all episodes."""
        support_labels, query_labels = episode_targets(shape, self.device)
        images = torch.cat([part for episode in batch for part in episode])
        embedded = self.network.body(images).unflatten(0, (len(batch), -1))
        support, queries = embedded.split([len(support_labels), len(query_labels)], dim=1)
        y = support_labels.expand(len(batch), -1)
        truth = query_labels.expand(len(batch), -1)
        descent = GradientDescent(self.config.inner_steps, self.config.inner_lr)
        logits = softmax_regression(support, y, shape.ways, descent)(queries)
        loss = F.cross_entropy(logits.flatten(0, 1), truth.flatten())
        loss.backward()
        return float(loss.detach()), accuracy(logits, truth)
