"""Dale's ANN: excitatory units with inhibitory interneurons in each layer."""

from __future__ import annotations

import math

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.perceptron import Hidden, layer_sizes
from harness.learning.supervised import Rule, SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

KINDS = ("ex", "ix", "ei", "alpha", "gain", "bias")
"""Tensors of a layer of n inputs, E excitatory and I inhibitory units.

Weights are ``ex`` (n, E) from the input to excitatory units, ``ix`` (n, I) from the input to
inhibitory ones, and ``ei`` (I, E) from these to excitatory ones. The others are ``alpha`` (1, I),
``gain`` (1, E) and ``bias`` (1, E).
"""

CLAMPED = ("ex", "ix", "ei", "gain")

GAMMA_FLOOR = 1e-8


@learners.register("dales-ann", family="backprop")
class DalesAnn(SupervisedLearner):
    """Dale's ANN (Cornford et al. 2021): each layer has inhibitory units that subtract and divide.

    A layer computes (eq. 3 to 5 of Cornford et al., "Learning to live with Dale's principle", ICLR
    2021)

        z = g / gamma * (W_EX x - W_EI W_IX x) + b,   gamma = W_EI (e^alpha * W_IX x)

    with W_EX, W_IX, W_EI >= 0, and a ReLU after every layer but the last. It starts as a layer
    normalisation of its input: W_EX and W_IX are exponentially distributed, W_EI = 1 / I. The
    gradients of W_IX, W_EI and alpha are divided by sqrt(E), n and n sqrt(E), as the Fisher
    information suggests (their section 4). Steps are those of SGD; a clamp at zero enforces signs.
    """

    typical_training_s = 80.0

    class Config(SupervisedConfig):
        """Keys of ``dales-ann``."""

        hidden: Hidden = Field(
            500,
            description="excitatory units of the hidden layer, or a list with one entry per layer",
        )
        inhibitory: float = Field(
            0.1,
            gt=0,
            le=1,
            description="inhibitory units of a layer, as a share of its excitatory ones",
        )
        corrected: bool = Field(True, description="correct the gradients of inhibitory parameters")
        momentum: float = Field(0.9, ge=0, lt=1, description="momentum of the steps")
        lr: float = Field(
            0.05, gt=0, description="learning rate; falls linearly to zero during training"
        )
        epochs: int = Field(15, ge=1, description="passes over the training set")
        adapt_lr: float = Field(0.05, gt=0, description="learning rate on a support set")

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """The published start: interneurons centre and standardise the layer's input."""
        generator = self.rng.torch("initial weights")
        pixels = math.prod(self.image_shape)
        sizes = [pixels, *layer_sizes(self.config.hidden), n_out]
        tensors: Tensors = {}
        for i, (n, excitatory) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            layer = self._initial_layer(n, excitatory, first=i == 0, generator=generator)
            for kind in KINDS:
                tensors[f"{kind}{i}"] = layer[kind]
        return tensors

    def _initial_layer(
        self, n: int, excitatory: int, *, first: bool, generator: torch.Generator
    ) -> Tensors:
        """The tensors of one layer, by kind."""
        two_pi = 2 * math.pi
        # The variance of ReLU outputs is not that of pixels (their appendix on initialisation).
        scale = math.sqrt(1 / (2 * n)) if first else math.sqrt(two_pi / (n * (two_pi - 1)))
        inhibitory = max(1, round(self.config.inhibitory * excitatory))
        ex = scale * torch.empty(n, excitatory).exponential_(generator=generator)
        ix = scale * torch.empty(n, inhibitory).exponential_(generator=generator)
        if inhibitory == 1:
            ix = ex.mean(1, keepdim=True)
        return {
            "ex": ex,
            "ix": ix,
            "ei": torch.full((inhibitory, excitatory), 1 / inhibitory),
            "alpha": torch.full((1, inhibitory), 0.5 * math.log((two_pi - 1) / n)),
            "gain": torch.ones(1, excitatory),
            "bias": torch.zeros(1, excitatory),
        }

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Corrected SGD."""
        return CorrectedSgd(tensors, self.config, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The layers."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(forward, tensors, activity=activity)

    def connectome(self) -> list[Synapses]:
        """Three bundles per layer; the weights that interneurons send are negative."""
        bundles = []
        for i in range(len(self.tensors) // len(KINDS)):
            ex = self.tensors[f"ex{i}"]
            ix = self.tensors[f"ix{i}"]
            ei = self.tensors[f"ei{i}"]
            name = f"layer{i + 1}"
            bundles += [
                Synapses(f"{name} input->excitatory", ex, ex > 0, enforced=True),
                Synapses(f"{name} input->inhibitory", ix, ix > 0, enforced=True),
                Synapses(f"{name} inhibitory->excitatory", -ei, ei > 0, enforced=True),
            ]
        return bundles


def forward(images: torch.Tensor, tensors: Tensors, activity: bool = False) -> torch.Tensor:
    """Logits (B, classes), or the activity (B, E) of the last hidden layer."""
    x = images.flatten(1)
    layers = len(tensors) // len(KINDS)
    for i in range(layers - activity):
        ex, ix, ei, alpha, gain, bias = (tensors[f"{kind}{i}"] for kind in KINDS)
        inhibition = x @ ix  # W_IX x
        gamma = (alpha.exp() * inhibition) @ ei + GAMMA_FLOOR
        x = gain / gamma * (x @ ex - inhibition @ ei) + bias
        if i != layers - 1:
            x = F.relu(x)
    return x


class CorrectedSgd:
    """SGD with momentum, the corrections of Cornford et al., and a clamp at zero.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(self, tensors: Tensors, config: DalesAnn.Config, *, adapting: bool) -> None:
        self.config = config
        self.adapting = adapting
        self.leaves = {name: value.detach().requires_grad_() for name, value in tensors.items()}
        self.velocity = {name: torch.zeros_like(value) for name, value in tensors.items()}
        self.correction = {name: self._correction(name) for name in tensors}

    def _correction(self, name: str) -> float:
        """Factor on the gradient of a tensor."""
        if not self.config.corrected:
            return 1.0
        kind = name.rstrip("0123456789")
        layer = name.removeprefix(kind)
        n, excitatory = self.leaves[f"ex{layer}"].shape
        divisors: dict[str, float] = {
            "ix": math.sqrt(excitatory),
            "ei": n,
            "alpha": n * math.sqrt(excitatory),
        }
        return 1 / divisors.get(kind, 1.0)

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        with torch.enable_grad():
            logits = forward(x, self.leaves)
            loss = F.cross_entropy(logits, y)
            gradients = torch.autograd.grad(loss, list(self.leaves.values()))
        rate = self.config.adapt_lr if self.adapting else self.config.lr * (1 - done)
        with torch.no_grad():
            for (name, p), gradient in zip(self.leaves.items(), gradients, strict=True):
                velocity = self.velocity[name].mul_(self.config.momentum).add_(gradient)
                p.sub_(velocity, alpha=rate * self.correction[name])
                if name.startswith(CLAMPED):
                    p.clamp_(min=0)
        return loss.detach(), logits.detach()
