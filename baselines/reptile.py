"""Reptile: initial weights that move towards the weights that training on each task ends at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from harness.lazy import F, torch
from harness.learning.fitting import EpisodeShape, accuracy, episode_targets
from harness.learning.meta import Episode, InnerConfig, MetaLearner
from harness.registry import learners


@learners.register("reptile", family="few-shot")
class Reptile(MetaLearner):
    """Reptile (Nichol, Achiam & Schulman 2018, Algorithm 2): moves to the mean adapted weights.

        theta <- theta + lr * mean over tasks of (theta' - theta)

    theta' is theta after `inner_steps` steps of gradient descent, each on `inner_batch` images of
    the task. No gradient goes through them, and there is no query set. As in the paper, lr falls
    linearly from `lr` to zero. The paper uses Adam without momentum inside; here it is plain
    gradient descent, which their analysis (section 5) is about.

    The paper reports 95.39 % for Omniglot's 5-way 1-shot inductively, 97.68 % transductively. Here
    it is inductive, with group normalisation and a head from zero, like `maml`.
    """

    typical_training_s = 60.0

    class Config(InnerConfig):
        """Keys of ``reptile``."""

        train_shots: int = Field(10, ge=2, description="images per class in a training task")
        inner_batch: int = Field(10, ge=1, description="images per inner step of training")
        adapt_steps: int = Field(
            20, ge=1, description="gradient steps on the whole support set after training"
        )
        lr: float = Field(
            1.0,
            gt=0,
            le=1,
            description="how far the initial weights move to the adapted ones; falls to zero",
        )

    config: Config

    def requested_shape(self) -> EpisodeShape:
        """The size of training tasks that the config asks for.

        All images of a task are trained on. One image per class is drawn as a query only because
        the sampler draws queries.
        """
        return EpisodeShape(self.config.train_ways, self.config.train_shots - 1, 1)

    def outer(self) -> torch.optim.Optimizer:
        """Plain steps along theta' - theta, with the factor ``lr``."""
        return torch.optim.SGD(self.parts.parameters(), lr=self.config.lr)

    def meta_gradient(
        self, batch: Sequence[Episode], shape: EpisodeShape, iteration: int
    ) -> tuple[float, float]:
        """Leave the mean over tasks of theta - theta' in ``.grad``.

        Returns:
            Mean loss and accuracy on the batch of the last inner step, from before that step.
        """
        theta = list(self.network.parameters())
        for p in theta:
            p.grad = torch.zeros_like(p)
        labels = torch.cat(episode_targets(shape, self.device))
        outcomes = []
        for task, images in enumerate(batch):
            rows = self._rows(shape.images, iteration, task)
            adapted, outcome = self._trained(torch.cat(images)[rows], labels[rows], shape.ways)
            for p, q in zip(theta, adapted, strict=True):
                assert p.grad is not None
                p.grad += (p.detach() - q.detach()) / len(batch)
            outcomes.append(outcome)
        loss, share = np.mean(outcomes, axis=0)
        return loss, share

    def _rows(self, images: int, iteration: int, task: int) -> torch.Tensor:
        """Rows of a task for every inner step, (inner_steps, inner_batch).

        Each image comes once before any comes again.
        """
        generator = self.rng.torch("inner batches", iteration, task)
        needed = self.config.inner_steps * self.config.inner_batch
        passes = -(-needed // images)
        orders = [torch.randperm(images, generator=generator) for _ in range(passes)]
        rows = torch.cat(orders)[:needed]
        return rows.view(self.config.inner_steps, -1).to(self.device)

    def _trained(
        self, images: torch.Tensor, labels: torch.Tensor, n_way: int
    ) -> tuple[list[torch.Tensor], tuple[float, float]]:
        """Train a clone on batches (steps, batch, ...), one step each.

        Returns:
            The body's parameters, and the loss and accuracy of the last batch before its step.
        """
        clone = self.clone(n_way)
        outcome = (0.0, 0.0)
        for x, y in zip(images, labels, strict=True):
            logits = clone(x)
            loss = F.cross_entropy(logits, y)
            clone.adapt(loss, first_order=True)
            outcome = (float(loss.detach()), accuracy(logits, y))
        return list(clone.module.body.parameters()), outcome
