"""Backpropagation as a rule: gradients by autograd, pruning, adversarial examples. Reached lazily: this file imports torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from harness.learning.optimisers import Descent
from harness.learning.supervised import BackpropConfig, Tensors

Forward = Callable[[torch.Tensor, Tensors, bool], torch.Tensor]

PRUNING_BEGINS, PRUNING_ENDS, PRUNINGS = 0.1, 0.7, 60
"""Shares of training between which weights are pruned, and how often."""


class Backprop:
    """Descent on the mean cross-entropy of a network, on its images or on adversarial examples of them.

    Args:
        forward: images, tensors and whether it is training, to logits.
        tensors: of the network; those called weight... and bias... and scale... learn.
        config: of the learner.
        generator: of the random starts of adversarial examples.
        adapting: steps of ``adapt_lr`` that stay as they are, in place of a rate that falls.
    """

    def __init__(
        self,
        forward: Forward,
        tensors: Tensors,
        config: BackpropConfig,
        generator: torch.Generator,
        *,
        adapting: bool,
    ):
        self.forward, self.tensors, self.config, self.generator = (
            forward,
            tensors,
            config,
            generator,
        )
        self.fades, self.prunings = not adapting, 0
        self.leaves = {
            name: value.detach().requires_grad_()
            for name, value in tensors.items()
            if name.startswith(("weight", "bias", "scale"))
        }
        self.descent = Descent(
            [leaf.detach() for leaf in self.leaves.values()],
            optimiser=config.optimiser,
            lr=config.adapt_lr if adapting else config.lr,
            l1=config.l1,
            weight_decay=config.weight_decay,
            non_negative=config.non_negative,
            weights=[name.startswith("weight") for name in self.leaves],
        )

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        self._prune(done)
        if self.config.adversarial_eps:
            x = self._attacked(x, y, done)
        with torch.enable_grad():
            logits = self.forward(x, {**self.tensors, **self.leaves}, True)
            loss = F.cross_entropy(logits, y)
            gradients = torch.autograd.grad(loss, list(self.leaves.values()))
        self.descent.step(gradients, 1 - done if self.fades else 1.0)
        return loss.detach(), logits.detach()

    def _prune(self, done: float) -> None:
        """Gradual magnitude pruning: density d + (1 - d) (1 - t)^3 as t goes from 0 to 1 (Zhu & Gupta 2017, eq. 1)."""
        course = min(1.0, (done - PRUNING_BEGINS) / (PRUNING_ENDS - PRUNING_BEGINS))
        if self.config.density < 1 and course * PRUNINGS >= self.prunings + 1:
            self.prunings = int(course * PRUNINGS)
            self.descent.prune(
                self.config.density
                + (1 - self.config.density) * (1 - self.prunings / PRUNINGS) ** 3
            )

    def _attacked(self, x: torch.Tensor, y: torch.Tensor, done: float) -> torch.Tensor:
        """Adversarial examples of x, from a random start, against the network as it is measured (running statistics)."""
        config = self.config
        eps = config.adversarial_eps * min(
            1.0, (done + 1e-3) / max(config.adversarial_warmup, 1e-3)
        )
        size = 1.25 if config.adversarial_steps == 1 else 2.5 / config.adversarial_steps
        low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
        noise = torch.rand(x.shape, generator=self.generator).to(x.device)
        point = torch.minimum(torch.maximum(x + eps * (2 * noise - 1), low), high)
        for _ in range(config.adversarial_steps):
            with torch.enable_grad():
                point = point.detach().requires_grad_()
                loss = F.cross_entropy(self.forward(point, self.tensors, False), y)
                (gradient,) = torch.autograd.grad(loss, point)
            point = torch.minimum(
                torch.maximum(point.detach() + size * eps * gradient.sign(), low), high
            )
        return point
