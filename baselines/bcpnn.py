"""BCPNN: weights from estimated probabilities, sparse wiring by mutual information, a read-out."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.lazy import nn, torch
from harness.learning.hebbian import HebbianConfig, HebbianLearner
from harness.learning.learner import Progress, Synapses, TrainingLog
from harness.registry import learners

SMALLEST = 1e-10
COUNTS = 20.0
"""Mean of the Poisson counts that joint probabilities start from."""

BETTER = 1.1
"""A silent connection replaces a live one if its score is higher by this factor."""

MOST_SWAPS = 100
"""Connections of a hypercolumn that change at once, at most."""


@learners.register("bcpnn", family="Hebbian")
class Bcpnn(HebbianLearner):
    """Bayesian confidence propagation with structural plasticity (Ravichandran et al. 2024).

    A pixel is a pair of units, on (brighter than a half) and off. Hidden units compete within
    hypercolumns: y = softmax(b + x W). With probabilities p estimated by running means, over
    ``tau`` passes through the images,

        w_ij = log(p_ij / (p_i p_j)),        b_j = gain log p_j.

    A hypercolumn reads a share of the pixels. Every ``rewire_every`` images, silent connections
    replace live ones if their mutual information, sum p_ij log(p_ij / (p_i p_j)) over the units of
    pixel and hypercolumn, divided by one plus the fan-out of the pixel, is higher by a tenth.

    Attacks pass the binarisation with a gradient of one; ``front: pixel-sigmoid`` is the control
    for what binarisation does. Weights have both signs from either unit of a pixel.
    """

    typical_training_s = 500.0

    class Config(HebbianConfig):
        """Keys of ``bcpnn``."""

        hidden: int = Field(2000, ge=2, description="hidden units in all hypercolumns")
        hypercolumns: int = Field(20, ge=1, description="groups of units that compete")
        share: float = Field(
            0.1, gt=0, le=1, description="share of the pixels that a hypercolumn reads"
        )
        rewire_every: int = Field(
            200, ge=0, description="images between changes of the wiring; 0: it stays random"
        )
        tau: float = Field(
            1.0, gt=0, description="time constant of the probabilities, in passes over the images"
        )
        gain: float = Field(1.0, ge=0, description="gain of the bias log p_j")
        readout_lr: float = Field(
            1e-3, gt=0, description="Adam's rate for the read-out; falls linearly to zero"
        )
        epochs: int = Field(5, ge=0, description="passes over the training images for the code")
        batch_size: int = Field(50, ge=1, description="images per step of the code")

        @model_validator(mode="after")
        def _divides(self) -> Bcpnn.Config:
            if self.hidden % self.hypercolumns:
                raise ValueError("hidden must be a multiple of hypercolumns")
            if self.hidden == self.hypercolumns:
                raise ValueError("a hypercolumn needs two units or more that compete")
            return self

    config: Config

    def _reset(self) -> None:
        super()._reset()
        config = self.config
        n = len(self.tensors["weight"]) // 2
        generator = self.rng.torch("wiring")
        ranks = torch.rand(n, config.hypercolumns, generator=generator).argsort(0).argsort(0)
        live = max(1, round(config.share * n))
        self.tensors["live"] = (ranks < live).to(self.device)
        self.tensors["bias"] = torch.zeros(1, config.hidden, device=self.device)
        self._seen = 0
        self._write()

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Set probabilities from random counts; the weights of both units of each pixel."""
        hidden, groups = self.config.hidden, self.config.hypercolumns
        counts = 1 + torch.poisson(torch.full((2 * n, hidden), COUNTS), generator=generator)
        # Each pair of a pixel and a hypercolumn has probabilities that sum to one.
        pairs = counts.view(2, n, groups, -1)
        joint = (pairs / pairs.sum((0, 3), keepdim=True)).view(2 * n, hidden)
        self.joint = joint.to(self.device)
        self.pre = torch.full((2 * n, 1), 0.5, device=self.device)
        self.post = torch.full((1, hidden), groups / hidden, device=self.device)
        return torch.zeros(2 * n, hidden)

    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        self._time = max(1.0, self.config.tau * len(images))
        self._weighed = 1 / self._time
        super()._fit_hidden(images, total, log, progress)

    def learn(self, weight: torch.Tensor, x: torch.Tensor, done: float) -> None:
        """Move probabilities towards a batch of flat images and the code of them."""
        config = self.config
        units = both((x > 0.5).to(x.dtype))
        y = compete(units @ weight + self.tensors["bias"], config.hypercolumns)
        rate = self._rate(len(x))
        self.joint.lerp_(units.T @ y / len(x), rate)
        self.pre.lerp_(units.mean(0)[:, None], rate)
        self.post.lerp_(y.mean(0, keepdim=True), rate)
        before = self._seen
        self._seen += len(x)
        every = config.rewire_every
        if every and self._seen // every > before // every:
            self.rewire()
        self._write()

    def _rate(self, images: int) -> float:
        """How far a mean moves. It weighs all images alike, until there are ``tau`` passes of them.

        The probabilities before the first count as one image.
        """
        kept = (1 - 1 / self._time) ** images
        self._weighed = kept * self._weighed + 1 - kept
        return (1 - kept) / self._weighed

    def _write(self) -> None:
        """Weights and biases from probabilities."""
        live = self.tensors["live"].repeat(2, 1)
        width = self.config.hidden // self.config.hypercolumns
        information = self.information()
        self.tensors["weight"].copy_(information * live.repeat_interleave(width, 1))
        self.tensors["bias"].copy_(self.config.gain * self.post.clamp_min(SMALLEST).log())

    def information(self) -> torch.Tensor:
        """log(p_ij / (p_i p_j)) of all units (2 n, hidden), live or not."""
        log_pre = self.pre.clamp_min(SMALLEST).log()
        log_post = self.post.clamp_min(SMALLEST).log()
        return self.joint.clamp_min(SMALLEST).log() - log_pre - log_post

    def rewire(self) -> None:
        """Let silent connections of high score replace live ones of low score."""
        live = self.tensors["live"]
        groups = self.config.hypercolumns
        mutual = (self.joint * self.information()).view(2, len(live), groups, -1).sum((0, 3))
        score = mutual / (1 + live.sum(1, keepdim=True))
        swaps = min(MOST_SWAPS, int(live[:, 0].sum()), int((~live[:, 0]).sum()))
        best, silent = score.masked_fill(live, -float("inf")).topk(swaps, dim=0)
        worst, worst_live = score.masked_fill(~live, float("inf")).topk(swaps, dim=0, largest=False)
        swapped = best > BETTER * worst
        live.scatter_(0, silent, swapped)
        live.scatter_(0, worst_live, ~swapped)

    def code(self, weight: torch.Tensor) -> nn.Module:
        """The competition in every hypercolumn."""
        from harness.learning.nets import FrozenFunction

        tensors = {"weight": weight, "bias": self.tensors["bias"]}
        return FrozenFunction(_code, tensors, groups=self.config.hypercolumns)

    def connectome(self) -> list[Synapses]:
        """Both units of each pixel to the hidden units, where they are wired, and the read-out."""
        _, *rest = super().connectome()
        width = self.config.hidden // self.config.hypercolumns
        live = self.tensors["live"].repeat(2, 1).repeat_interleave(width, 1)
        weight = self.tensors["weight"]
        return [Synapses("input->hidden", weight, mask=live, presynaptic_sign=False), *rest]


def both(on: torch.Tensor) -> torch.Tensor:
    """The on- and the off-units (B, 2 n) of pixels (B, n)."""
    return torch.cat([on, 1 - on], 1)


def compete(drive: torch.Tensor, groups: int) -> torch.Tensor:
    """Softmax of (B, hidden) within each of the groups."""
    return torch.softmax(drive.unflatten(1, (groups, -1)), 2).flatten(1)


def _code(images: torch.Tensor, tensors: dict[str, torch.Tensor], groups: int) -> torch.Tensor:
    from harness.learning.surrogate import surrogate

    x = images.flatten(1)
    on = surrogate((x > 0.5).to(x.dtype), x)
    return compete(both(on) @ tensors["weight"] + tensors["bias"], groups)
