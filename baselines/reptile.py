"""Reptile: initial weights moved towards the weights that training on each task ends at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from harness.lazy import F, torch
from harness.learning.fitting import EpisodeShape
from harness.learning.meta import Episode, InnerConfig, MetaLearner, accuracy, targets
from harness.registry import learners


@learners.register("reptile")
class Reptile(MetaLearner):
    """Reptile (Nichol, Achiam & Schulman 2018, Algorithm 2): theta <- theta + lr * mean over tasks of (theta' - theta).

    theta' is theta after `inner_steps` steps of gradient descent, each on `inner_batch` images of the task; no gradient
    goes through them and there is no query set. lr falls linearly from `lr` to zero, as there. They use Adam without
    momentum inside; here it is plain gradient descent, the form that their analysis (section 5) is of.

    They report 95.39 % at Omniglot's 5-way 1-shot inductively, 97.68 % transductively. Here it is inductive, with group
    normalisation and a head from zero, as `maml`.
    """

    typical_training_s = 60.0

    class Config(InnerConfig):
        """Switches of ``reptile``."""

        train_shots: int = Field(10, ge=2, description="images a class in a training task")
        inner_batch: int = Field(10, ge=1, description="images in an inner step of training")
        adapt_steps: int = Field(
            20, ge=1, description="gradient steps on the whole support set after training"
        )
        lr: float = Field(
            1.0,
            gt=0,
            le=1,
            description="how far the initial weights go towards the adapted ones; falls to zero",
        )

    config: Config

    def wanted_shape(self) -> EpisodeShape:
        """All images of a task are trained on; one a class is drawn as a query, which is only a matter of the sampler."""
        return EpisodeShape(self.config.train_ways, self.config.train_shots - 1, 1)

    def outer(self) -> torch.optim.Optimizer:
        """Plain steps: of length ``lr`` along theta' - theta."""
        return torch.optim.SGD(self.parts.parameters(), lr=self.config.lr)

    def meta_gradient(
        self, batch: Sequence[Episode], shape: EpisodeShape, iteration: int
    ) -> tuple[float, float]:
        """Leave the mean over tasks of theta - theta' in ``.grad``.

        Returns:
            Mean loss and accuracy on the batch of the last inner step, before that step.
        """
        outcomes, start = [], list(self.network.parameters())
        for p in start:
            p.grad = torch.zeros_like(p)
        for task, images in enumerate(batch):
            rows = self._rows(shape.images, iteration, task)
            end, outcome = self._trained(
                torch.cat(images)[rows], torch.cat(targets(shape, self.device))[rows], shape.ways
            )
            for p, q in zip(start, end, strict=True):
                p.grad += (p.detach() - q.detach()) / len(batch)
            outcomes.append(outcome)
        return tuple(np.mean(outcomes, axis=0))

    def _rows(self, images: int, iteration: int, task: int) -> torch.Tensor:
        """Rows of a task for every inner step, (inner_steps, inner_batch): each image once before any comes again."""
        generator, wanted = (
            self.rng.torch("inner batches", iteration, task),
            self.config.inner_steps * self.config.inner_batch,
        )
        passes = [torch.randperm(images, generator=generator) for _ in range(-(-wanted // images))]
        return torch.cat(passes)[:wanted].view(self.config.inner_steps, -1).to(self.device)

    def _trained(
        self, images: torch.Tensor, labels: torch.Tensor, n_way: int
    ) -> tuple[list[torch.Tensor], tuple[float, float]]:
        """The body's parameters after one step on each batch of (steps, batch, ...), and how the last batch was met."""
        clone = self.clone(n_way)
        for x, y in zip(images, labels, strict=True):
            logits = clone(x)
            loss = F.cross_entropy(logits, y)
            clone.adapt(loss, first_order=True)
        return list(clone.module.body.parameters()), (float(loss.detach()), accuracy(logits, y))
