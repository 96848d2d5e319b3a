"""Prototypical networks: an embedding trained on episodes, classified by distance to class means."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning import heads
from harness.learning.episodic import EpisodicConfig, EpisodicLearner
from harness.learning.fitting import EpisodeShape
from harness.learning.heads import HeadName
from harness.registry import learners


@learners.register("protonet")
class ProtoNet(EpisodicLearner):
    """Prototypical network (Snell et al. 2017, equations 1 and 2): a Conv4 trained on episodes, by distance to class means.

    Inductive: batch normalisation uses the running statistics of training, never those of a query batch. As a plain
    classifier it compares an image with the mean embedding of each training class.

    ``adversarial_eps`` is adversarial querying (Goldblum, Fowl & Goldstein 2020): in training, queries are replaced by
    PGD examples against the prototypes of the clean support set. A budget of images counts an example as one image.
    """

    class Config(EpisodicConfig):
        """Switches of ``protonet``."""

        adversarial_eps: float = Field(
            0.0, ge=0, le=1, description="Linf budget of attacks on training queries; 0: none"
        )
        adversarial_steps: int = Field(
            7, ge=1, description="gradient steps of such an attack, of 2.5 / steps of its budget"
        )
        head: HeadName = Field("nearest-mean", description="few-shot head on the embedding")

    config: Config

    def scores(self, queries: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Minus the squared distance of embedded queries (Q, D) to the means of the support set's classes, (Q, ways)."""
        return -torch.cdist(queries, support.mean(1)).square()

    def altered(
        self, batch: torch.Tensor, shape: EpisodeShape, targets: torch.Tensor, episode: int
    ) -> torch.Tensor:
        """With ``adversarial_eps`` each query at an image within its budget that is hard to tell.

        The network is attacked as it would be measured: with running statistics, which stay as they are.
        """
        if not self.config.adversarial_eps:
            return batch
        eps, steps, body = self.config.adversarial_eps, self.config.adversarial_steps, self.body()
        support, queries = batch.split([shape.ways * shape.shots, len(targets)])
        start = torch.rand(
            queries.shape, generator=self.rng.torch("adversarial queries", episode)
        ).to(self.device)
        delta = eps * (2 * start - 1)
        with torch.no_grad():
            embedded = body(support).unflatten(0, (shape.ways, shape.shots))
        for _ in range(steps):
            points = (queries + delta).clamp(0, 1).requires_grad_()
            loss = F.cross_entropy(self.scores(body(points), embedded), targets)
            delta = (delta + 2.5 / steps * eps * torch.autograd.grad(loss, points)[0].sign()).clamp(
                -eps, eps
            )
        return torch.cat([support, (queries + delta).clamp(0, 1)])

    def classifier(self) -> nn.Module:
        """Minus the scaled squared distance to each training class's mean embedding."""
        return heads.from_means(self.tensors["prototypes"][None], heads.VIEWS[self.config.head]).on(
            self.body()
        )
