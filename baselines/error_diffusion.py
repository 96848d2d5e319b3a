"""Error diffusion: excitatory and inhibitory streams under a strict Dale's law."""

from __future__ import annotations

import math

from pydantic import Field

from harness.lazy import F, nn, torch
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
    """

    typical_training_s = 400.0

    class Config(SupervisedConfig):
        """Keys of ``error-diffusion``."""

        hidden: Hidden = Field([500, 250], description="units of each stream in each hidden layer")
        alpha: float = Field(
            6.0, gt=0, description="width of the sigmoid; narrow ones saturate and do not learn"
        )
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
        sizes = [math.prod(self.image_shape), *layer_sizes(self.config.hidden), n_out]
        tensors: Tensors = {}
        for i, (n_in, units) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            last = i == len(sizes) - 2
            for pathway in ("pp", "np") if last else PATHWAYS:
                excites = pathway[0] == pathway[1]
                factor = EXCITATORY_START if excites else INHIBITORY_START
                start = torch.rand(n_in, units, generator=generator) / math.sqrt(n_in)
                tensors[f"{pathway}{i}"] = (start * (1 if last else factor)).clamp_(min=FLOOR)
            for stream in ("p",) if last else ("p", "n"):
                tensors[f"bias_{stream}{i}"] = torch.zeros(1, units)
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Diffusion of the output's error."""
        return Diffusion(tensors, self.config, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """Both streams; the activity is that of both."""
        from harness.learning.nets import FrozenFunction

        function = _activity if activity else _answer
        return FrozenFunction(function, tensors, alpha=self.config.alpha)

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
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(self, tensors: Tensors, config: ErrorDiffusion.Config, *, adapting: bool) -> None:
        self.tensors = tensors
        self.alpha = config.alpha
        self.centred = config.centred
        self.lr = config.adapt_lr if adapting else config.lr
        self.rate_falls = not adapting

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step in every layer."""
        with torch.no_grad():
            streams, drive = run(x.flatten(1), self.tensors, self.alpha)
            answer = torch.sigmoid(2 * drive / self.alpha)
            error = F.one_hot(y, drive.shape[1]) - answer  # S
            if self.centred:
                error = error - error.mean(0, keepdim=True)
            rate = self.lr * (1 - done if self.rate_falls else 1.0) / len(y)
            for i, (p, n) in enumerate(streams):
                above_p, above_n = streams[i + 1] if i + 1 < len(streams) else (answer, None)
                routed = error[:, torch.arange(above_p.shape[1]) % error.shape[1]]  # R
                self._change("p", i, (p, n), self._slope(above_p) * routed * rate)
                if above_n is not None:
                    self._change("n", i, (n, p), -self._slope(above_n) * routed * rate)
            return F.cross_entropy(drive, y), drive

    def _slope(self, activity: torch.Tensor) -> torch.Tensor:
        """phi', from phi."""
        return activity * (1 - activity) * (2 / self.alpha)

    def _change(
        self, stream: str, i: int, below: tuple[torch.Tensor, torch.Tensor], step: torch.Tensor
    ) -> None:
        """Change what layer ``i``'s units of one stream receive.

        Args:
            stream: ``"p"`` or ``"n"``.
            i: The layer.
            below: Activity of the same stream in the layer below, and of the other.
            step: Rate times U, (B, units).
        """
        own, other = below
        opposite = "n" if stream == "p" else "p"
        excitatory = self.tensors[f"{stream}{stream}{i}"]
        inhibitory = self.tensors[f"{opposite}{stream}{i}"]
        excitatory.add_(own.T @ step).clamp_(min=FLOOR)
        inhibitory.sub_(other.T @ step).clamp_(min=FLOOR)
        self.tensors[f"bias_{stream}{i}"].add_(step.sum(0, keepdim=True))


def layers_of(tensors: Tensors) -> int:
    """Number of layers, the output's among them."""
    return sum(name.startswith("pp") for name in tensors)


Stream = tuple["torch.Tensor", "torch.Tensor"]
"""Activity of the excitatory and of the inhibitory units of one layer."""


def run(x: torch.Tensor, tensors: Tensors, alpha: float) -> tuple[list[Stream], torch.Tensor]:
    """The forward pass on flat images x (B, n).

    Returns:
        Both streams of each layer below the output, starting with (x, x), and the output's drive
        z_p (B, classes).
    """
    p = n = x
    streams = [(p, n)]
    last = layers_of(tensors) - 1
    for i in range(last):
        z_p = p @ tensors[f"pp{i}"] - n @ tensors[f"np{i}"] + tensors[f"bias_p{i}"]
        z_n = n @ tensors[f"nn{i}"] - p @ tensors[f"pn{i}"] + tensors[f"bias_n{i}"]
        p = torch.sigmoid(2 * z_p / alpha)
        n = torch.sigmoid(2 * z_n / alpha)
        streams.append((p, n))
    drive = p @ tensors[f"pp{last}"] - n @ tensors[f"np{last}"] + tensors[f"bias_p{last}"]
    return streams, drive


def _answer(images: torch.Tensor, tensors: Tensors, alpha: float) -> torch.Tensor:
    return run(images.flatten(1), tensors, alpha)[1]


def _activity(images: torch.Tensor, tensors: Tensors, alpha: float) -> torch.Tensor:
    return torch.cat(run(images.flatten(1), tensors, alpha)[0][-1], 1)
