"""Meta-SGD: MAML that also learns the rate of each parameter's inner step. Through learn2learn."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.meta import MetaConfig, MetaLearner
from harness.registry import learners


@learners.register("meta-sgd")
class MetaSgd(MetaLearner):
    """Meta-SGD (Li, Zhou, Chen & Li 2017, Algorithm 1): theta' = theta - alpha * grad L_support(theta), alpha learned.

    alpha has the size of theta, starts at `inner_lr` everywhere, and is learned beside theta by the same gradient (their
    equation 3); it may become negative. One inner step by default, as there. The classifier layer starts at zero and
    has one rate for each input and one for its bias, shared by all classes, so that any number of ways works.
    Otherwise as `maml`: inductive.
    """

    class Config(MetaConfig):
        """Switches of ``meta-sgd``, those of ``maml``."""

        inner_steps: int = Field(
            1, ge=1, description="gradient steps on the support set in training"
        )
        inner_lr: float = Field(
            0.1, gt=0, description="learning rate that every parameter's starts at"
        )
        adapt_steps: int = Field(
            1, ge=1, description="gradient steps on the support set after training"
        )

    def untrained(self) -> nn.ModuleDict:
        """The network, and a rate for each of its parameters: those of the head first."""
        parts = super().untrained()
        width, start = parts["network"].width, self.config.inner_lr
        like = [torch.zeros(width, 1), torch.zeros(1, 1), *parts["network"].parameters()]
        parts["rates"] = nn.ParameterList(
            torch.full_like(p, start, requires_grad=True) for p in like
        )
        return parts

    def rates(self) -> list[torch.Tensor | float]:
        """The learned ones."""
        return list(self.parts["rates"])

    def adapted(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        n_way: int,
        steps: int,
        *,
        first_order: bool,
    ) -> nn.Module:
        """A clone of the network with n_way outputs, after ``steps`` steps of learn2learn's update."""
        from harness.imports import import_learn2learn

        update, clone = (
            import_learn2learn().algorithms.meta_sgd.meta_sgd_update,
            self.clone(n_way).module,
        )
        with torch.enable_grad():
            for _ in range(steps):
                loss, parameters = F.cross_entropy(clone(images), labels), list(clone.parameters())
                gradients = torch.autograd.grad(loss, parameters, create_graph=not first_order)
                rates = [
                    rate.expand_as(p) for rate, p in zip(self.rates(), parameters, strict=True)
                ]
                clone = update(clone, rates, gradients)
        return clone
