"""Dale's ANN: excitatory units with inhibitory interneurons in each layer, and gradients corrected for these."""

from __future__ import annotations

import math

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import Hidden, Rule, SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

KINDS = ("ex", "ix", "ei", "alpha", "gain", "bias")
"""Tensors of a layer: weights input to excitatory (n, E), input to inhibitory (n, I), inhibitory to excitatory (I, E)."""

CLAMPED = ("ex", "ix", "ei", "gain")

GAMMA_FLOOR = 1e-8


@learners.register("dales-ann")
class DalesAnn(SupervisedLearner):
    """Dale's ANN (Cornford et al. 2021): every layer has its own inhibitory units, which subtract and divide.

    A layer computes (eq. 3 to 5 of Cornford et al., "Learning to live with Dale's principle", ICLR 2021)

        z = g / gamma * (W_EX x - W_EI W_IX x) + b,   gamma = W_EI (e^alpha * W_IX x)

    with W_EX, W_IX, W_EI >= 0 and a ReLU after every layer but the last. It starts as a layer normalisation of its input:
    W_EX and W_IX exponentially distributed, W_EI = 1 / I. The gradients of W_IX, W_EI and alpha are divided by sqrt(E), n and
    n sqrt(E), which the Fisher information suggests (their section 4). Steps are SGD's; a clamp at zero enforces the signs.
    """

    typical_training_s = 60.0

    class Config(SupervisedConfig):
        """Switches of ``dales-ann``."""

        hidden: Hidden = Field(
            500,
            description="excitatory units of the hidden layer, or a list with one entry a layer",
        )
        inhibitory: float = Field(
            0.1,
            gt=0,
            le=1,
            description="inhibitory units of a layer, as a share of its excitatory ones",
        )
        corrected: bool = Field(True, description="correct the gradients of inhibitory parameters")
        momentum: float = Field(0.9, ge=0, lt=1, description="of the steps")
        lr: float = Field(
            0.05, gt=0, description="learning rate; falls linearly to zero during training"
        )
        epochs: int = Field(15, ge=1, description="passes over the training set")
        adapt_lr: float = Field(0.05, gt=0, description="learning rate on a support set")

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """As published: the interneurons centre and standardise what comes in."""
        generator, hidden = self.rng.torch("initial weights"), self.config.hidden
        sizes = [
            math.prod(self.image_shape),
            *([hidden] if isinstance(hidden, int) else hidden),
            n_out,
        ]
        tensors: Tensors = {}
        for i, (n, excitatory) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            # the variance of what a ReLU passes on is not that of pixels (their appendix on initialisation)
            scale = (
                math.sqrt(1 / (2 * n))
                if i == 0
                else math.sqrt(2 * math.pi / (n * (2 * math.pi - 1)))
            )
            inhibitory = max(1, round(self.config.inhibitory * excitatory))
            ex = scale * torch.empty(n, excitatory).exponential_(generator=generator)
            ix = scale * torch.empty(n, inhibitory).exponential_(generator=generator)
            if inhibitory == 1:
                ix = ex.mean(1, keepdim=True)
            layer = (
                ex,
                ix,
                torch.full((inhibitory, excitatory), 1 / inhibitory),
                torch.full((1, inhibitory), 0.5 * math.log((2 * math.pi - 1) / n)),
                torch.ones(1, excitatory),
                torch.zeros(1, excitatory),
            )
            tensors |= {f"{kind}{i}": value for kind, value in zip(KINDS, layer, strict=True)}
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Corrected SGD."""
        return CorrectedSgd(tensors, self.config, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The layers."""
        from harness.learning.nets import Function

        return Function(_forward, tensors, activity=activity)

    def connectome(self) -> list[Synapses]:
        """Three bundles a layer; what interneurons send is negative."""
        bundles = []
        for i in range(len(self.tensors) // len(KINDS)):
            ex, ix, ei = (self.tensors[f"{kind}{i}"] for kind in ("ex", "ix", "ei"))
            bundles += [
                Synapses(f"layer{i + 1} input->excitatory", ex, ex > 0, enforced=True),
                Synapses(f"layer{i + 1} input->inhibitory", ix, ix > 0, enforced=True),
                Synapses(f"layer{i + 1} inhibitory->excitatory", -ei, ei > 0, enforced=True),
            ]
        return bundles


def _forward(images: torch.Tensor, tensors: Tensors, activity: bool = False) -> torch.Tensor:
    """Logits, or the activity of the last hidden layer."""
    x, layers = images.flatten(1), len(tensors) // len(KINDS)
    for i in range(layers - activity):
        ex, ix, ei, alpha, gain, bias = (tensors[f"{kind}{i}"] for kind in KINDS)
        inhibition = x @ ix
        gamma = (alpha.exp() * inhibition) @ ei + GAMMA_FLOOR
        x = gain / gamma * (x @ ex - inhibition @ ei) + bias
        x = x if i == layers - 1 else F.relu(x)
    return x


class CorrectedSgd:
    """SGD with the corrections of Cornford et al., and a clamp."""

    def __init__(self, tensors: Tensors, config: DalesAnn.Config, *, adapting: bool):
        self.config, self.adapting = config, adapting
        self.leaves = {name: value.detach().requires_grad_() for name, value in tensors.items()}
        self.velocity = {name: torch.zeros_like(value) for name, value in tensors.items()}
        self.correction = {name: self._correction(name) for name in tensors}

    def _correction(self, name: str) -> float:
        kind = name.rstrip("0123456789")
        n, excitatory = self.leaves["ex" + name.removeprefix(kind)].shape
        scales: dict[str, float] = {
            "ix": math.sqrt(excitatory),
            "ei": n,
            "alpha": n * math.sqrt(excitatory),
        }
        return 1 / scales.get(kind, 1.0) if self.config.corrected else 1.0

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        with torch.enable_grad():
            logits = _forward(x, self.leaves)
            loss = F.cross_entropy(logits, y)
            gradients = torch.autograd.grad(loss, list(self.leaves.values()))
        rate = self.config.adapt_lr if self.adapting else self.config.lr * (1 - done)
        with torch.no_grad():
            for (name, p), gradient in zip(self.leaves.items(), gradients, strict=True):
                p.sub_(
                    self.velocity[name].mul_(self.config.momentum).add_(gradient),
                    alpha=rate * self.correction[name],
                )
                if name.startswith(CLAMPED):
                    p.clamp_(min=0)
        return loss.detach(), logits.detach()
