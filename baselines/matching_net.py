"""Matching networks: a query takes the labels of the support images whose embeddings point its way."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.episodic import EpisodicConfig, EpisodicLearner
from harness.registry import learners

LEAST = 1e-30
"""Probability that is as good as none: at sharpness 30 no class has less."""


@learners.register("matching-net")
class MatchingNet(EpisodicLearner):
    """Matching network (Vinyals et al. 2016, equation 1 and section 2.1.1): softmax over cosines with the support images.

    P(y | x) = sum of a(x, x_i) over support images i of class y, a = softmax of `sharpness` times the cosine of the
    embeddings. `sharpness: 1` is the equation as printed; cosines lie within [-1, 1], so that P then never comes near 1.
    One embedding serves queries and support set (f = g). Left out: full context embeddings (section 2.1.2), which see
    the support set as a sequence; they report 98.1 / 98.9 % at Omniglot's 5-way 1- and 5-shot without them.

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch. As a plain
    classifier it attends to the mean embedding of each training class.
    """

    class Config(EpisodicConfig):
        """Switches of ``matching-net``."""

        sharpness: float = Field(
            10.0, gt=0, le=30, description="factor on cosines before the softmax"
        )

    config: Config

    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Log P of each class, (Q, ways)."""
        labels = torch.arange(len(support), device=support.device).repeat_interleave(
            support.shape[1]
        )
        return self.fit_head(support.flatten(0, 1)[None], labels[None], len(support))(
            queries[None]
        )[0]

    def fit_head(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> Attention:
        """Nothing is fitted: the support set is what is attended to."""
        members = F.one_hot(support_labels, n_way).to(support.dtype)
        return Attention(F.normalize(support, dim=2), members, self.config.sharpness)


@dataclass(frozen=True)
class Attention:
    """Attention to the support sets of E episodes.

    Attributes:
        directions: embeddings of length one, (E, S, D).
        members: one-hot labels, (E, S, n_way).
        sharpness: factor on cosines.
    """

    directions: torch.Tensor
    members: torch.Tensor
    sharpness: float

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to log P, (E, Q, n_way)."""
        return torch.stack(
            [
                self._attend(*one)
                for one in zip(embeddings, self.directions, self.members, strict=True)
            ]
        )

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier behind ``body``."""
        from harness.learning.nets import Behind

        return Behind(body, self._attend, self.directions[0], self.members[0])

    def _attend(
        self, embeddings: torch.Tensor, directions: torch.Tensor, members: torch.Tensor
    ) -> torch.Tensor:
        """(Q, D), (S, D), (S, n_way) to log P, (Q, n_way)."""
        attention = (self.sharpness * F.normalize(embeddings, dim=1) @ directions.T).softmax(1)
        return (attention @ members).clamp_min(LEAST).log()
