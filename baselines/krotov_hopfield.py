"""Competing hidden units: the local rule of Krotov and Hopfield, with a trained read-out."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.hebbian import HebbianConfig
from harness.learning.hebbian_stream import StreamingHebbianLearner
from harness.registry import learners

SMALLEST = 1e-30


@learners.register("krotov-hopfield", family="Hebbian")
class KrotovHopfield(StreamingHebbianLearner):
    """Competitive anti-Hebbian hidden layer (Krotov & Hopfield 2019, PNAS 116) with a read-out.

    The input to a hidden unit is I = sum_i sgn(w_i) |w_i|^(p-1) x_i (their eq. 1 and 2). The unit
    with the largest input learns and that of rank k unlearns: g = 1 and -Delta, and 0 for all
    others (eq. 9). Each changes by

        dw = g (x - I w)                                                      (eq. 3)

    summed over the batch and divided by its largest entry. The code is ReLU(I)^n.

    Ours: images are scaled to length one, since I^n would otherwise mostly measure the amount of
    ink. The code takes weights at length one, to which they converge. The read-out is a softmax
    trained on the cross-entropy; theirs is a tanh trained on a loss of power m = 6.
    """

    typical_training_s = 350.0

    class Config(HebbianConfig):
        """Keys of ``krotov-hopfield``."""

        epochs: int = Field(
            40, ge=0, description="passes over the training images for the hidden layer"
        )
        lr: float = Field(
            0.1, gt=0, description="largest change of a weight in a step; falls linearly to zero"
        )
        p: float = Field(2.0, ge=1, description="p of the norm in which weights converge to one")
        rank: int = Field(2, ge=2, description="k: the unit of this rank unlearns")
        delta: float = Field(0.4, ge=0, description="Delta: strength of the unlearning")
        power: float = Field(6.0, gt=0, description="n of the code ReLU(I)^n")

    config: Config

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Standard normal weights: so long that units which have not learned yet win.

        They are stored unit by unit, so that the weights of one unit are contiguous.
        """
        return torch.randn(self.config.hidden, n, generator=generator).T

    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Take one step; only units that were first or k-th for an image of the batch change."""
        x = F.normalize(x, dim=1)
        units = weight.T
        inputs = x @ _synaptic(weight, self.config.p)  # I
        rank = min(self.config.rank, inputs.shape[1])
        largest, ranked = inputs.topk(rank, dim=1)
        chosen = torch.cat([ranked[:, 0], ranked[:, -1]])
        chosen_input = torch.cat([largest[:, 0], largest[:, -1]])
        learns = torch.ones(len(x))
        unlearns = torch.full((len(x),), -self.config.delta)
        g = torch.cat([learns, unlearns]).to(x.device)
        changed, place = chosen.unique(return_inverse=True)
        # Sums of g x and of g I over the batch, for each unit that changes.
        gx = x.new_zeros(len(changed), x.shape[1]).index_add_(0, place, g[:, None] * x.repeat(2, 1))
        gi = x.new_zeros(len(changed)).index_add_(0, place, g * chosen_input)
        step = gx.sub_(gi[:, None] * units[changed])
        step *= self.config.lr * (1 - done) / step.abs().max().clamp_min(SMALLEST)
        units.index_add_(0, changed, step)

    def code(self, weight: torch.Tensor) -> nn.Module:
        """ReLU(I)^n, of weights and images at length one."""
        from harness.learning.nets import FrozenFunction

        unit_length = F.normalize(weight, p=self.config.p, dim=0)
        synaptic = _synaptic(unit_length, self.config.p)
        return FrozenFunction(_code, {"weight": synaptic}, power=self.config.power)


def _synaptic(weight: torch.Tensor, p: float) -> torch.Tensor:
    """sgn(w) |w|^(p-1)."""
    if p == 2:
        return weight
    return weight.sign() * weight.abs().pow(p - 1)


def _code(images: torch.Tensor, tensors: dict[str, torch.Tensor], power: float) -> torch.Tensor:
    x = F.normalize(images.flatten(1), dim=1)
    return F.relu(x @ tensors["weight"]).pow(power)
