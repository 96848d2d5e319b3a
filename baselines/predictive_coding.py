"""Predictive coding: activities settle between image and label, then each weight learns locally."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from harness.lazy import F, nn, torch
from harness.learning.convolved import layer_shapes, synapses_of
from harness.learning.learner import Synapses
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.perceptron import Hidden, layer_sizes
from harness.learning.supervised import Rule, SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

if TYPE_CHECKING:  # ``nets`` imports torch
    from harness.learning.nets import Activation

Loss = Literal["squared-error", "cross-entropy"]
Nudging = Literal["none", "positive", "negative", "centred"]


@learners.register("predictive-coding", family="predictive coding")
class PredictiveCoding(SupervisedLearner):
    """Predictive coding (Whittington & Bogacz 2017), also incremental (Salvatori et al. 2024).

    With u_l = f(h_{l-1} W_l + b_l), after a convolution also pooled, the energy of an image is

        E = sum_l |h_l - u_l|^2 / 2 + E_out,   E_out = |t - u_L|^2 / 2 or -sum t log softmax(u_L).

    In training, activities start at the forward pass, h = u, and take ``inference_steps`` steps of
    momentum SGD on E. Then weights take one step on E, in which the gradient of W_l has only what
    meets there: h_{l-1} and h_l. ``incremental`` takes a step of the weights after each step of
    inference.

    With ``nudging`` the output is not clamped to the label but to h_L = u_L - beta (u_L - t), and
    the gradient is divided by beta; beta is positive, negative, or of a random sign in each batch
    (Pinchetti et al. 2024, arXiv 2407.01163). At test all errors are zero, which is the forward
    pass: labels play no part.
    """

    typical_training_s = 280.0

    class Config(SupervisedConfig):
        """Keys of ``predictive-coding``."""

        channels: list[Annotated[int, Field(ge=1)]] = Field(
            default=[],
            description="channels of each 3x3 convolution, every one followed by max pooling by 2",
        )
        hidden: Hidden = Field(
            [128, 128, 128], description="units of each hidden layer after the convolutions"
        )
        activation: Literal["gelu", "relu", "leaky-relu", "tanh", "hard-tanh"] = Field(
            "gelu", description="activation function f"
        )
        loss: Loss = Field("squared-error", description="energy of the output")
        inference_steps: int = Field(8, ge=1, description="steps of inference in each batch")
        inference_lr: float = Field(0.1, gt=0, description="size of a step of inference")
        inference_momentum: float = Field(0.5, ge=0, lt=1, description="momentum of inference")
        incremental: bool = Field(
            False, description="a step of the weights after every step of inference"
        )
        nudging: Nudging = Field(
            "none", description="move the output towards the label instead of clamping it there"
        )
        beta: float = Field(0.5, gt=0, le=1, description="strength of nudging")
        weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")

        @model_validator(mode="after")
        def _layers_exist(self) -> PredictiveCoding.Config:
            if not self.channels and not layer_sizes(self.hidden):
                raise ValueError("there are no hidden layers: give hidden or channels")
            if self.nudging != "none" and self.loss != "squared-error":
                raise ValueError("nudging needs loss: squared-error")
            return self

    config: Config

    @property
    def stages(self) -> list[Stage]:
        """The layers, from the image to the output."""
        config = self.config
        f = config.activation
        convolutions = [Stage(f, pooled=True) for _ in config.channels]
        layers = [Stage(f) for _ in layer_sizes(config.hidden)]
        return [*convolutions, *layers, Stage("linear")]

    def initial(self, n_out: int) -> Tensors:
        """Weights with He's variance, biases of zero."""
        from harness.learning.nets import he_weights

        config = self.config
        generator = self.rng.torch("initial weights")
        hidden = layer_sizes(config.hidden)
        tensors: Tensors = {}
        for i, layer in enumerate(layer_shapes(self.image_shape, config.channels, hidden, n_out)):
            tensors[f"weight{i}"] = he_weights(
                *layer.weight, fan_in=layer.fan_in, generator=generator
            )
            tensors[f"bias{i}"] = torch.zeros(layer.bias)
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Inference and learning."""
        return EnergyDescent(
            tensors, self.config, self.stages, self.rng.torch("nudging"), adapting=adapting
        )

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The forward pass."""
        from harness.learning.nets import FrozenFunction

        stages = self.stages[:-1] if activity else self.stages
        return FrozenFunction(_forward, tensors, stages=stages)

    def connectome(self) -> list[Synapses]:
        """One bundle per layer."""
        return synapses_of(self.tensors)


@dataclass(frozen=True)
class Stage:
    """One layer: what it predicts from the activity below.

    Attributes:
        f: Name of the activation function.
        pooled: Whether max pooling by 2 follows.
    """

    f: Activation
    pooled: bool = False

    def __call__(
        self, below: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """u, from activity (B, ...), and the weights (in, out) or (out, in, 3, 3)."""
        from harness.learning.nets import ACTIVATIONS

        if weight.ndim == 4:
            z = F.conv2d(below, weight, bias, padding=1)
        else:
            z = below.flatten(1) @ weight + bias
        u = ACTIVATIONS[self.f](z)
        return F.max_pool2d(u, 2) if self.pooled else u


def _forward(images: torch.Tensor, tensors: Tensors, stages: list[Stage]) -> torch.Tensor:
    h = images
    for i, stage in enumerate(stages):
        h = stage(h, tensors[f"weight{i}"], tensors[f"bias{i}"])
    return h.flatten(1)


class EnergyDescent:
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        stages: Its layers.
        generator: Draws the sign of beta.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: PredictiveCoding.Config,
        stages: list[Stage],
        generator: torch.Generator,
        *,
        adapting: bool,
    ) -> None:
        self.config = config
        self.stages = stages
        self.generator = generator
        self.rate_falls = not adapting
        self.leaves = {name: value.detach().requires_grad_() for name, value in tensors.items()}
        self.optimiser = ProximalOptimiser(
            [leaf.detach() for leaf in self.leaves.values()],
            optimiser="adam",
            lr=config.adapt_lr if adapting else config.lr,
            weight_decay=config.weight_decay,
            weights=[name.startswith("weight") for name in self.leaves],
        )

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step."""
        config = self.config
        rate = 1 - done if self.rate_falls else 1.0
        with torch.no_grad():
            states = self.forward(x)
        *hidden, logits = states
        target = F.one_hot(y, logits.shape[1]).to(logits.dtype)
        beta = self._beta()
        aim = target if beta is None else logits - beta * (logits - target)
        velocity = [torch.zeros_like(h) for h in hidden]
        for _ in range(config.inference_steps):
            self.infer(x, hidden, aim, velocity)
            if config.incremental:
                self.learn(x, hidden, aim, rate, beta)
        if not config.incremental:
            self.learn(x, hidden, aim, rate, beta)
        return F.cross_entropy(logits, y), logits

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Activity of every layer in the forward pass, the output's last."""
        states = []
        for i, stage in enumerate(self.stages):
            x = stage(x, self.leaves[f"weight{i}"], self.leaves[f"bias{i}"])
            states.append(x)
        return states

    def energy(
        self, x: torch.Tensor, hidden: list[torch.Tensor], aim: torch.Tensor
    ) -> torch.Tensor:
        """E, summed over the batch.

        Args:
            x: Images (B, C, H, W).
            hidden: Activity of each hidden layer.
            aim: What the output is clamped to, (B, classes).
        """
        total = x.new_zeros(())
        below = x
        for i, (stage, h) in enumerate(zip(self.stages, [*hidden, aim], strict=True)):
            u = stage(below, self.leaves[f"weight{i}"], self.leaves[f"bias{i}"])
            if h is aim and self.config.loss == "cross-entropy":
                total = total - (aim * u.log_softmax(1)).sum()
            else:
                total = total + (h - u).square().sum() / 2
            below = h
        return total

    def infer(
        self,
        x: torch.Tensor,
        hidden: list[torch.Tensor],
        aim: torch.Tensor,
        velocity: list[torch.Tensor],
    ) -> None:
        """Take one step of inference, in place."""
        with torch.enable_grad():
            leaves = [h.detach().requires_grad_() for h in hidden]
            gradients = torch.autograd.grad(self.energy(x, leaves, aim), leaves)
        for h, v, gradient in zip(hidden, velocity, gradients, strict=True):
            v.mul_(self.config.inference_momentum).add_(gradient)
            h.sub_(v, alpha=self.config.inference_lr)

    def learn(
        self,
        x: torch.Tensor,
        hidden: list[torch.Tensor],
        aim: torch.Tensor,
        rate: float,
        beta: float | None,
    ) -> None:
        """Take one step of the weights on the mean energy."""
        gradients = self.weight_gradients(x, hidden, aim)
        scale = 1 / (len(x) * (1.0 if beta is None else beta))
        self.optimiser.step([gradient * scale for gradient in gradients], rate)

    def weight_gradients(
        self, x: torch.Tensor, hidden: list[torch.Tensor], aim: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The gradient of E by each parameter, summed over the batch."""
        with torch.enable_grad():
            return torch.autograd.grad(self.energy(x, hidden, aim), list(self.leaves.values()))

    def _beta(self) -> float | None:
        """The strength of nudging in this batch, or None if the output is clamped."""
        nudging = self.config.nudging
        if nudging == "none":
            return None
        if nudging == "centred":
            sign = 1 if torch.rand((), generator=self.generator) < 0.5 else -1
        else:
            sign = 1 if nudging == "positive" else -1
        return sign * self.config.beta
