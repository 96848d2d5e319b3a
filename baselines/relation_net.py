"""Relation networks: a learned comparison of a query's features with those of each class."""

from __future__ import annotations

from dataclasses import dataclass

from harness.batching import in_batches
from harness.lazy import F, nn, torch
from harness.learning.episodic import EpisodicConfig, EpisodicLearner
from harness.learning.heads import class_means
from harness.registry import learners

PAIRS = 4096
"""Pairs of a query and a class compared at once."""


@learners.register("relation-net")
class RelationNet(EpisodicLearner):
    """Relation network (Sung et al. 2018, equations 1 and 2): a relation score in (0, 1) for each pair of query and class.

    r = g(C(f(class), f(query))), trained by the squared error to 1 for the query's own class and 0 for others. f is a Conv4
    whose last two blocks do not pool, g two more blocks (3x3 convolution, batch normalisation, 2x2 max pooling, ReLU), a layer
    of 8 ReLU units and one sigmoid; with `backbone: mlp` g has a dense layer in place of the blocks. Logits are the scores
    before the sigmoid. The features of a class are the mean over its support images, not their sum, so that one network
    serves any number of shots (at one shot they are the same).

    They report 99.6 / 99.8 / 97.6 / 99.1 % at Omniglot's 5-way 1- and 5-shot, 20-way 1- and 5-shot.

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch. As a plain
    classifier it compares with the mean features of each training class.
    """

    typical_training_s = 300.0

    class Config(EpisodicConfig):
        """Switches of ``relation-net``."""

    config: Config

    def untrained(self) -> nn.ModuleDict:
        """The body f and the comparison g."""
        from harness.learning.bodies import backbone
        from harness.learning.relation import Relation

        generator, width = self.rng.torch("initial weights"), self.config.width
        body = backbone(self.config.backbone, self.image_shape, width, generator, pools=2)
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, *self.image_shape)).shape[1]
        relation = Relation(features, width, generator, maps=self.config.backbone == "conv4")
        return nn.ModuleDict({"body": body, "relation": relation})

    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """The relation of each pair before the sigmoid, (Q, ways); batch normalisation over all pairs."""
        return self.parts["relation"](queries, support.mean(1))

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the scores (equation 2)."""
        return F.mse_loss(logits.sigmoid(), F.one_hot(targets, logits.shape[1]).to(logits.dtype))

    def fit_head(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> Comparison:
        """Nothing is fitted: class means are what is compared with."""
        return Comparison(
            self.parts["relation"].still(), class_means(support, support_labels, n_way)
        )


@dataclass(frozen=True)
class Comparison:
    """The relation network on the classes of E episodes.

    Attributes:
        relation: g, frozen: embeddings (Q, D) and class means (n_way, D) to logits (Q, n_way).
        means: (E, n_way, D).
    """

    relation: nn.Module
    means: torch.Tensor

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to logits (E, Q, n_way)."""
        step = max(1, PAIRS // self.means.shape[1])
        return torch.stack(
            [
                in_batches(lambda x, known=known: self.relation(x, known), queries, batch_size=step)
                for queries, known in zip(embeddings, self.means, strict=True)
            ]
        )

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier behind ``body``."""
        from harness.learning.nets import Behind

        return Behind(body, self.relation, self.means[0])
