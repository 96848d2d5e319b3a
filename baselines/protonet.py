"""Prototypical networks: an embedding trained on episodes to be near its class mean."""

from __future__ import annotations

from pydantic import Field

from harness.budgets import Budget
from harness.lazy import F, torch
from harness.learning import heads
from harness.learning.episodic import EpisodicConfig, EpisodicLearner
from harness.learning.fitting import EpisodeShape
from harness.learning.heads import HeadName
from harness.registry import learners


@learners.register("protonet", family="few-shot")
class ProtoNet(EpisodicLearner):
    """Prototypical network (Snell et al. 2017, eq. 1 and 2): episodes, by distance to class means.

    Inductive: batch normalisation uses the running statistics of training, never those of a query
    batch. As a plain classifier it compares an image with the mean embedding of each training
    class.

    ``adversarial_eps`` is adversarial querying (Goldblum, Fowl & Goldstein 2020): in training,
    queries are replaced by PGD examples against the prototypes of the clean support set. A budget
    of images counts an example as one image.
    """

    class Config(EpisodicConfig):
        """Keys of ``protonet``."""

        adversarial_eps: Budget = Field(
            0.0, ge=0, le=1, description="Linf budget of attacks on training queries; 0: no attack"
        )
        adversarial_steps: int = Field(
            7, ge=1, description="gradient steps of such an attack, each 2.5 / steps of its budget"
        )
        head: HeadName = Field("nearest-mean", description="few-shot head on the embedding")

    config: Config

    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Minus the squared distance of queries (Q, D) to the class means, (Q, ways)."""
        return -torch.cdist(queries, support.mean(1)).square()

    def altered(
        self, batch: torch.Tensor, shape: EpisodeShape, targets: torch.Tensor, episode: int
    ) -> torch.Tensor:
        """With ``adversarial_eps``, replace queries by PGD examples within that budget.

        The network is attacked as it will be measured: with running statistics, which the attack
        does not update.
        """
        if not self.config.adversarial_eps:
            return batch
        eps = self.config.adversarial_eps
        steps = self.config.adversarial_steps
        body = self.body()
        support, queries = batch.split([shape.ways * shape.shots, len(targets)])
        generator = self.rng.torch("adversarial queries", episode)
        start = torch.rand(queries.shape, generator=generator).to(self.device)
        delta = eps * (2 * start - 1)
        with torch.no_grad():
            embedded = body(support).unflatten(0, (shape.ways, shape.shots))
        for _ in range(steps):
            points = (queries + delta).clamp(0, 1).requires_grad_()
            loss = F.cross_entropy(self.scores(body(points), embedded), targets)
            (gradient,) = torch.autograd.grad(loss, points)
            delta = (delta + 2.5 / steps * eps * gradient.sign()).clamp(-eps, eps)
        return torch.cat([support, (queries + delta).clamp(0, 1)])

    def head_of_means(self, means: torch.Tensor) -> heads.Heads:
        """Minus the scaled squared distance to each class's mean embedding."""
        return heads.from_means(means[None], heads.VIEWS[self.config.head])
