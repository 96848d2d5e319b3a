"""Matching networks: a query takes the labels of support images with similar embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.episodic import EpisodicConfig, EpisodicLearner
from harness.registry import learners

SMALLEST = 1e-30
"""Lower bound of a probability before the logarithm; at sharpness 30 no class has less."""


@learners.register("matching-net", family="few-shot")
class MatchingNet(EpisodicLearner):
    """Matching network (Vinyals et al. 2016, eq. 1): softmax over cosines with support images.

    P(y | x) = sum of a(x, x_i) over support images i of class y, where a is the softmax of
    `sharpness` times the cosine of the embeddings (section 2.1.1). `sharpness: 1` is the equation
    as printed; since cosines are within [-1, 1], P then never comes close to 1. Queries and support
    set share one embedding (f = g). Left out are full context embeddings (section 2.1.2), which see
    the support set as a sequence. Without them, the paper reports 98.1 / 98.9 % for Omniglot's
    5-way 1- and 5-shot.

    Inductive: batch normalisation uses the running statistics of training, never those of a query
    batch. As a plain classifier it attends to the mean embedding of each training class.
    """

    class Config(EpisodicConfig):
        """Keys of ``matching-net``."""

        sharpness: float = Field(
            10.0, gt=0, le=30, description="factor on cosines before the softmax"
        )

    config: Config

    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Log P of each class, (Q, ways)."""
        ways, shots = support.shape[:2]
        labels = torch.arange(ways, device=support.device).repeat_interleave(shots)
        head = self.fit_head(support.flatten(0, 1)[None], labels[None], ways)
        return head(queries[None])[0]

    def fit_head(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> Attention:
        """Attention to the support set; nothing is fitted."""
        members = F.one_hot(support_labels, n_way).to(support.dtype)
        return Attention(F.normalize(support, dim=2), members, self.config.sharpness)


@dataclass(frozen=True)
class Attention:
    """Attention to the support sets of E episodes.

    Attributes:
        directions: Embeddings at length one, (E, S, D).
        members: One-hot labels, (E, S, n_way).
        sharpness: Factor on cosines.
    """

    directions: torch.Tensor
    members: torch.Tensor
    sharpness: float

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to log P, (E, Q, n_way)."""
        episodes = zip(embeddings, self.directions, self.members, strict=True)
        return torch.stack([self._attend(*episode) for episode in episodes])

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier on top of ``body``."""
        from harness.learning.nets import FunctionHead

        return FunctionHead(body, self._attend, self.directions[0], self.members[0])

    def _attend(
        self, embeddings: torch.Tensor, directions: torch.Tensor, members: torch.Tensor
    ) -> torch.Tensor:
        """(Q, D), (S, D), (S, n_way) to log P, (Q, n_way)."""
        attention = (self.sharpness * F.normalize(embeddings, dim=1) @ directions.T).softmax(1)
        return (attention @ members).clamp_min(SMALLEST).log()
