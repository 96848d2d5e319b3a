"""Meta-SGD: MAML that also learns the rate of each parameter's inner step. Through learn2learn."""

from __future__ import annotations

from typing import cast

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.meta import MetaConfig, MetaLearner
from harness.registry import learners


@learners.register("meta-sgd", family="few-shot")
class MetaSgd(MetaLearner):
    """Meta-SGD (Li et al. 2017, Algorithm 1): MAML with a learned rate for each parameter.

    theta' = theta - alpha * grad L_support(theta), where alpha has the size of theta, starts at
    `inner_lr` everywhere, and is learned with theta by the same gradient (equation 3 of Li, Zhou,
    Chen & Li); it may become negative. Like theirs, it takes one inner step by default. The output
    layer starts at zero. It has one rate for each input and one for its bias, shared by all
    classes, so that any number of ways works. Otherwise it is like `maml`: inductive.
    """

    class Config(MetaConfig):
        """Keys of ``meta-sgd``, the same as those of ``maml``."""

        inner_steps: int = Field(
            1, ge=1, description="gradient steps on the support set in training"
        )
        inner_lr: float = Field(
            0.1, gt=0, description="learning rate that every parameter starts with"
        )
        adapt_steps: int = Field(
            1, ge=1, description="gradient steps on the support set after training"
        )

    def untrained(self) -> nn.ModuleDict:
        """The network, and a rate for each of its parameters, those of the output layer first."""
        parts = super().untrained()
        network = parts["network"]
        width = cast(int, network.width)
        output = [torch.zeros(width, 1), torch.zeros(1, 1)]
        start = self.config.inner_lr
        parts["rates"] = nn.ParameterList(
            torch.full_like(p, start, requires_grad=True) for p in [*output, *network.parameters()]
        )
        return parts

    def rates(self) -> list[torch.Tensor | float]:
        """The learned step sizes."""
        return list(cast("nn.ParameterList", self.part("rates")))

    def adapted(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        n_way: int,
        steps: int,
        *,
        first_order: bool,
    ) -> nn.Module:
        """A clone of the network with n_way outputs, after steps of learn2learn's update."""
        from harness.imports import import_learn2learn

        update = import_learn2learn().algorithms.meta_sgd.meta_sgd_update
        clone = self.clone(n_way).module
        with torch.enable_grad():
            for _ in range(steps):
                loss = F.cross_entropy(clone(images), labels)
                parameters = list(clone.parameters())
                gradients = torch.autograd.grad(loss, parameters, create_graph=not first_order)
                learned = cast("list[torch.Tensor]", self.rates())
                rates = [rate.expand_as(p) for rate, p in zip(learned, parameters, strict=True)]
                clone = update(clone, rates, gradients)
        return clone
