"""Competing hidden units: the local rule of Krotov and Hopfield, with a read-out by gradient descent."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.hebbian import HebbianConfig, HebbianLearner
from harness.registry import learners

SMALLEST = 1e-30


@learners.register("krotov-hopfield")
class KrotovHopfield(HebbianLearner):
    """Competitive anti-Hebbian hidden layer (Krotov & Hopfield 2019, PNAS 116), then a read-out trained on labels.

    The input to a hidden unit is I = sum_i sgn(w_i) |w_i|^(p-1) x_i (their eq. 1 and 2). The unit of the largest input learns,
    the one of rank k unlearns: g = 1 and -Delta, 0 for all others (eq. 9); each changes by

        dw = g (x - I w)                                                      (eq. 3)

    summed over the batch and divided by its largest entry. The code is ReLU(I)^n.

    Ours: images come at length one, or I^n would tell little but how much ink there is; the code takes weights at length one, to
    which they converge; the read-out is a softmax on the cross-entropy, where theirs is a tanh on a loss of power m = 6.
    """

    typical_training_s = 300.0

    class Config(HebbianConfig):
        """Switches of ``krotov-hopfield``."""

        epochs: int = Field(
            40, ge=1, description="passes over the training images for the hidden layer"
        )
        lr: float = Field(
            0.1, gt=0, description="largest change of a weight in a step; falls linearly to zero"
        )
        p: float = Field(2.0, ge=1, description="of the norm that weights converge to one in")
        rank: int = Field(2, ge=2, description="k: the unit of this rank unlearns")
        delta: float = Field(0.4, ge=0, description="Delta, how much it does")
        power: float = Field(6.0, gt=0, description="n of the code ReLU(I)^n")

    config: Config

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Standard normal weights, so long that units which have not learned yet win.

        Stored with the units first, so that one unit's weights lie together.
        """
        return torch.randn(self.config.hidden, n, generator=generator).T

    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Only the units that won or came k-th anywhere in the batch change: their rows are all that is touched."""
        x, units = F.normalize(x, dim=1), weight.T
        inputs = x @ _synaptic(weight, self.config.p)
        top, ranked = inputs.topk(min(self.config.rank, inputs.shape[1]), dim=1)
        who = torch.cat([ranked[:, 0], ranked[:, -1]])
        sign = torch.cat([torch.ones(len(x)), torch.full((len(x),), -self.config.delta)]).to(
            x.device
        )
        changed, place = who.unique(return_inverse=True)
        push = x.new_zeros(len(changed), x.shape[1]).index_add_(
            0, place, sign[:, None] * x.repeat(2, 1)
        )
        pull = x.new_zeros(len(changed)).index_add_(
            0, place, sign * torch.cat([top[:, 0], top[:, -1]])
        )
        step = push.sub_(pull[:, None] * units[changed])
        step *= self.config.lr * (1 - done) / step.abs().max().clamp_min(SMALLEST)
        units.index_add_(0, changed, step)

    def code(self, weight: torch.Tensor) -> nn.Module:
        """ReLU(I)^n of weights and images at length one."""
        from harness.learning.nets import Function

        unit_length = F.normalize(weight, p=self.config.p, dim=0)
        return Function(
            _code, {"weight": _synaptic(unit_length, self.config.p)}, power=self.config.power
        )


def _synaptic(weight: torch.Tensor, p: float) -> torch.Tensor:
    """sgn(w) |w|^(p-1)."""
    return weight if p == 2 else weight.sign() * weight.abs().pow(p - 1)


def _code(images: torch.Tensor, tensors: dict[str, torch.Tensor], power: float) -> torch.Tensor:
    return F.relu(F.normalize(images.flatten(1), dim=1) @ tensors["weight"]).pow(power)
