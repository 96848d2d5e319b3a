"""Error diffusion: excitatory and inhibitory streams under a strict Dale's law."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.convolutional import (
    ConvolutionKeys,
    bias_gradient,
    drive,
    pooled,
    weight_gradient,
    with_kernel,
)
from harness.learning.convolved import layer_shapes
from harness.learning.learner import Synapses
from harness.learning.perceptron import Hidden, layer_sizes
from harness.learning.supervised import Rule, SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

FLOOR = 1e-4
"""Smallest weight."""

EXCITATORY_START = 1.5
INHIBITORY_START = 0.5
"""Factors on initial weights: with equal ones, the streams cancel."""

PATHWAYS = ("pp", "nn", "np", "pn")
"""From stream and to stream: the first two excite, the others inhibit."""


@learners.register("error-diffusion", family="error signals")
class ErrorDiffusion(SupervisedLearner):
    """Two streams with weights >= 0, and an error that reaches unit i by i mod classes.

    As far as it is published (Yamada et al., arXiv 2606.31700; Kaneko 1999), with p_0 = n_0 = x and
    phi(z) = 1 / (1 + exp(-2 z / alpha)):

        p = phi(p' W_pp - n' W_np + b_p),        n = phi(n' W_nn - p' W_pn + b_n),

    where a prime is the layer below. S = t - p_L, minus its mean over the batch, is the error of
    the classes; hidden unit i takes that of class i mod C, R_i = S_{i mod C}. With
    U_p = phi'(z_p) R and U_n = -phi'(z_n) R, the changes are

        dW_pp = p'^T U_p,   dW_np = -n'^T U_p,   dW_nn = n'^T U_n,   dW_pn = -p'^T U_n,

    times lr / B, and no weight falls below 1e-4. The answer is z_p of the last layer.

    The floor enforces the signs. A unit of either stream sends to both, so Dale's law holds for a
    pathway; an inhibitory pathway of an excitatory neuron stands for an interneuron. Rate, batch
    and number of epochs are ours: the paper's are not public.

    In a convolution, channel i takes the error of class i mod C at every place, the changes of a
    filter are summed over places, and phi is narrower: ``alpha_conv``. Max pooling by 2, after phi,
    is our choice.
    """

    typical_training_s = 400.0

    class Config(ConvolutionKeys, SupervisedConfig):
        """Keys of ``error-diffusion``."""

        hidden: Hidden = Field([500, 250], description="units of each stream in each hidden layer")
        alpha: float = Field(
            6.0, gt=0, description="width of the sigmoid; narrow ones saturate and do not learn"
        )
        alpha_conv: float = Field(3.0, gt=0, description="width of the sigmoid of convolutions")
        centred: bool = Field(
            True, description="subtract the batch's mean from the error of each class"
        )
        lr: float = Field(3.0, gt=0, description="learning rate; falls linearly to zero")
        adapt_lr: float = Field(
            1.0, gt=0, description="learning rate on a support set, which stays constant"
        )
        epochs: int = Field(30, ge=1, description="passes over the training set")

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """U(0, 1) / sqrt(fan-in), excitatory weights larger than inhibitory ones.

        They are as large as each other in the last layer, which has no second stream.
        """
        generator = self.rng.torch("initial weights")
        config = self.config
        hidden = layer_sizes(config.hidden)
        layers = layer_shapes(self.image_shape, config.channels, hidden, n_out)
        tensors: Tensors = {}
        for i, layer in enumerate(with_kernel(layers, config.kernel)):
            last = i == len(layers) - 1
            for pathway in ("pp", "np") if last else PATHWAYS:
                excites = pathway[0] == pathway[1]
                factor = EXCITATORY_START if excites else INHIBITORY_START
                start = torch.rand(layer.weight, generator=generator) / math.sqrt(layer.fan_in)
                tensors[f"{pathway}{i}"] = (start * (1 if last else factor)).clamp_(min=FLOOR)
            for stream in ("p",) if last else ("p", "n"):
                tensors[f"bias_{stream}{i}"] = torch.zeros(layer.bias)
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Diffusion of the output's error."""
        return Diffusion(tensors, self.config, self.alphas, adapting=adapting)

    @property
    def alphas(self) -> list[float]:
        """Width of each layer's sigmoid."""
        config = self.config
        dense = len(layer_sizes(config.hidden)) + 1
        return [config.alpha_conv] * len(config.channels) + [config.alpha] * dense

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """Both streams; the activity is that of both."""
        from harness.learning.nets import FrozenFunction

        function = _activity if activity else _answer
        return FrozenFunction(function, tensors, alphas=self.alphas)

    def connectome(self) -> list[Synapses]:
        """Every pathway by itself; inhibitory weights are negative."""
        count = layers_of(self.tensors)
        bundles = []
        for i in range(count):
            pre = "input" if i == 0 else f"hidden{i}"
            post = "output" if i == count - 1 else f"hidden{i + 1}"
            for pathway in PATHWAYS:
                if f"{pathway}{i}" in self.tensors:
                    weight = self.tensors[f"{pathway}{i}"]
                    if weight.ndim == 4:
                        weight = weight.flatten(1).T
                    excites = pathway[0] == pathway[1]
                    bundles.append(
                        Synapses(
                            f"{pre}->{post} ({pathway[0]} to {pathway[1]})",
                            weight if excites else -weight,
                            enforced=True,
                        )
                    )
        return bundles


class Diffusion:
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        alphas: Width of each layer's sigmoid.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: ErrorDiffusion.Config,
        alphas: list[float],
        *,
        adapting: bool,
    ) -> None:
        self.tensors = tensors
        self.alphas = alphas
        self.centred = config.centred
        self.lr = config.adapt_lr if adapting else config.lr
        self.rate_falls = not adapting

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step in every layer."""
        with torch.no_grad():
            passed = run(x, self.tensors, self.alphas)
            drive = passed.drive
            answer = torch.sigmoid(2 * drive / self.alphas[-1])
            error = F.one_hot(y, drive.shape[1]) - answer  # S
            if self.centred:
                error = error - error.mean(0, keepdim=True)
            rate = self.lr * (1 - done if self.rate_falls else 1.0) / len(y)
            for i, (p, n) in enumerate(passed.inputs):
                if i == len(passed.activities):
                    self._change("p", i, (p, n), self._step(i, answer, error, rate))
                    break
                above_p, above_n = passed.activities[i]
                self._change("p", i, (p, n), self._step(i, above_p, error, rate))
                self._change("n", i, (n, p), self._step(i, above_n, error, -rate))
            return F.cross_entropy(drive, y), drive

    def _step(
        self, i: int, activity: torch.Tensor, error: torch.Tensor, rate: float
    ) -> torch.Tensor:
        """Rate times U of one stream: phi', from phi, times the error that comes to each unit."""
        slope = activity * (1 - activity) * (2 / self.alphas[i])
        routed = error[:, torch.arange(activity.shape[1]) % error.shape[1]]  # R
        if activity.ndim == 4:
            routed = routed[:, :, None, None]
        return slope * routed * rate

    def _change(
        self, stream: str, i: int, below: tuple[torch.Tensor, torch.Tensor], step: torch.Tensor
    ) -> None:
        """Change what layer ``i``'s units of one stream receive.

        Args:
            stream: ``"p"`` or ``"n"``.
            i: The layer.
            below: Activity of the same stream in the layer below, and of the other.
            step: Rate times U, of the shape of the units' activity.
        """
        own, other = below
        opposite = "n" if stream == "p" else "p"
        excitatory = self.tensors[f"{stream}{stream}{i}"]
        inhibitory = self.tensors[f"{opposite}{stream}{i}"]
        excitatory.add_(weight_gradient(own, excitatory, step)).clamp_(min=FLOOR)
        inhibitory.sub_(weight_gradient(other, inhibitory, step)).clamp_(min=FLOOR)
        self.tensors[f"bias_{stream}{i}"].add_(bias_gradient(step))


def layers_of(tensors: Tensors) -> int:
    """Number of layers, the output's among them."""
    return sum(name.startswith("pp") for name in tensors)


Stream = tuple["torch.Tensor", "torch.Tensor"]
"""Activity of the excitatory and of the inhibitory units of one layer."""


@dataclass(frozen=True)
class Pass:
    """A forward pass.

    Attributes:
        inputs: Both streams that each layer reads, starting with (x, x).
        activities: Both streams of each hidden layer, before they are pooled.
        drive: The output's z_p, (B, classes).
    """

    inputs: list[Stream]
    activities: list[Stream]
    drive: torch.Tensor


def run(images: torch.Tensor, tensors: Tensors, alphas: list[float]) -> Pass:
    """The forward pass on images (B, C, H, W)."""
    inputs: list[Stream] = []
    activities: list[Stream] = []
    p = n = images
    for i, alpha in enumerate(alphas):
        if tensors[f"pp{i}"].ndim == 2:
            p, n = p.flatten(1), n.flatten(1)
        inputs.append((p, n))
        z_p = _received("p", i, (p, n), tensors)
        if i == len(alphas) - 1:
            break
        z_n = _received("n", i, (n, p), tensors)
        p = torch.sigmoid(2 * z_p / alpha)
        n = torch.sigmoid(2 * z_n / alpha)
        activities.append((p, n))
        p, n = pooled(p), pooled(n)
    return Pass(inputs, activities, z_p)


def _received(stream: str, i: int, below: Stream, tensors: Tensors) -> torch.Tensor:
    """Drive of layer ``i``'s units of one stream, from the same stream below and the other."""
    own, other = below
    opposite = "n" if stream == "p" else "p"
    excitation = drive(own, tensors[f"{stream}{stream}{i}"])
    inhibition = drive(other, tensors[f"{opposite}{stream}{i}"])
    bias = tensors[f"bias_{stream}{i}"]
    if excitation.ndim == 4:
        bias = bias.view(-1, 1, 1)
    return excitation - inhibition + bias


def _answer(images: torch.Tensor, tensors: Tensors, alphas: list[float]) -> torch.Tensor:
    return run(images, tensors, alphas).drive


def _activity(images: torch.Tensor, tensors: Tensors, alphas: list[float]) -> torch.Tensor:
    return torch.cat(run(images, tensors, alphas).inputs[-1], 1)
