"""ANIL: MAML whose inner steps change the classifier layer alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from harness.lazy import F, nn, torch
from harness.learning.fitting import EpisodeShape
from harness.learning.heads import FeatureLearner, Heads
from harness.learning.meta import Episode, MetaConfig, MetaLearner, accuracy, targets
from harness.learning.trained_heads import Descent, linear
from harness.registry import learners


@learners.register("anil")
class Anil(FeatureLearner, MetaLearner):
    """ANIL, almost no inner loop (Raghu, Raghu, Bengio & Vinyals 2020, equation 2): MAML with the body left as it is.

    The inner steps, in training and after, move the classifier layer alone, from zero; the outer steps move the body by
    the gradient through them. All episodes of a meta-batch go through the body at once and are adapted side by side.

    They report 96.2 % at Omniglot's 20-way 1-shot, transductively. Here it is inductive, as `maml`.
    """

    typical_training_s = 30.0

    class Config(MetaConfig):
        """Switches of ``anil``, those of ``maml``."""

    config: Config

    def body(self) -> nn.Module:
        """The backbone, frozen."""
        from harness.learning.bodies import freeze

        return freeze(copy.deepcopy(self.network.body))

    def fit_head(self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> Heads:
        """``adapt_steps`` gradient steps of the classifier layer."""
        return linear(
            support, support_labels, n_way, Descent(self.config.adapt_steps, self.config.inner_lr)
        )

    def meta_gradient(
        self, batch: Sequence[Episode], shape: EpisodeShape, iteration: int
    ) -> tuple[float, float]:
        """As for MAML, with one pass through the body."""
        images, labels = (
            torch.cat([part for episode in batch for part in episode]),
            targets(shape, self.device),
        )
        embedded = self.network.body(images).unflatten(0, (len(batch), -1))
        support, queries = embedded.split([len(part) for part in labels], dim=1)
        y, truth = (part.expand(len(batch), -1) for part in labels)
        logits = linear(
            support, y, shape.ways, Descent(self.config.inner_steps, self.config.inner_lr)
        )(queries)
        loss = F.cross_entropy(logits.flatten(0, 1), truth.flatten())
        loss.backward()
        return float(loss.detach()), accuracy(logits, truth)
