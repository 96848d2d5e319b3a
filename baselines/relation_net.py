"""Relation networks: a learned comparison of a query's features with those of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from harness.batching import in_batches
from harness.lazy import F, nn, torch
from harness.learning.episodic import EpisodicConfig, EpisodicLearner
from harness.learning.heads import class_means
from harness.registry import learners

if TYPE_CHECKING:  # ``relation`` imports torch
    from harness.learning.relation import Relation

PAIRS = 4096
"""Pairs of a query and a class that are compared at once."""


@learners.register("relation-net", family="few-shot")
class RelationNet(EpisodicLearner):
    """Relation network (Sung et al. 2018, eq. 1 and 2): a learned score of query and class.

    r = g(C(f(class), f(query))) in (0, 1), trained by the squared error to 1 for the query's own
    class and to 0 for others. f is a Conv4 whose last two blocks do not pool. g has two more blocks
    (3x3 convolution, batch normalisation, 2x2 max pooling, ReLU), a layer of 8 ReLU units and one
    sigmoid; with a body other than `conv4`, a dense layer of `width` units instead of the blocks.
    Logits are the scores before
    the sigmoid. The features of a class are the mean over its support images, not their sum, so
    that one network serves any number of shots (at one shot they are the same).

    The paper reports 99.6 / 99.8 / 97.6 / 99.1 % for Omniglot's 5-way 1- and 5-shot, 20-way 1- and
    5-shot.

    Inductive: batch normalisation uses the running statistics of training, never those of a query
    batch. As a plain classifier it compares with the mean features of each training class.
    """

    typical_training_s = 300.0

    class Config(EpisodicConfig):
        """Keys of ``relation-net``."""

    config: Config

    def untrained(self) -> nn.ModuleDict:
        """The body f and the comparison g."""
        from harness.learning.bodies import Conv4, embedding_width
        from harness.learning.relation import Relation

        generator = self.rng.torch("initial weights")
        body = self.config.new_body(self.image_shape, generator, pools=2)
        features = embedding_width(body.eval(), self.image_shape)
        is_conv4 = isinstance(body, Conv4)
        width = body.width if isinstance(body, Conv4) else self.config.width
        relation = Relation(features, width, generator, maps=is_conv4)
        return nn.ModuleDict({"body": body, "relation": relation})

    @property
    def relation(self) -> Relation:
        """The comparison g, in training."""
        return cast("Relation", self.part("relation"))

    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """The relation of each pair before the sigmoid, (Q, ways); normalised over all pairs."""
        return self.relation(queries, support.mean(1))

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the scores (equation 2)."""
        one_hot = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return F.mse_loss(logits.sigmoid(), one_hot)

    def fit_head(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> Comparison:
        """A comparison with the class means; nothing is fitted."""
        means = class_means(support, support_labels, n_way)
        return Comparison(self.relation.frozen_copy(), means)


@dataclass(frozen=True)
class Comparison:
    """The relation network on the classes of E episodes.

    Attributes:
        relation: g, frozen: embeddings (Q, D) and class means (n_way, D) to logits (Q, n_way).
        means: Class means, (E, n_way, D).
    """

    relation: nn.Module
    means: torch.Tensor

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to logits (E, Q, n_way)."""
        n_way = self.means.shape[1]
        queries_at_once = max(1, PAIRS // n_way)
        logits = []
        for queries, known in zip(embeddings, self.means, strict=True):

            def scores(x: torch.Tensor, known: torch.Tensor = known) -> torch.Tensor:
                return self.relation(x, known)

            logits.append(in_batches(scores, queries, batch_size=queries_at_once))
        return torch.stack(logits)

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier on top of ``body``."""
        from harness.learning.nets import FunctionHead

        return FunctionHead(body, self.relation, self.means[0])
