"""The steady mode of competitive plasticity: learning that goes on and knows no end.

Nothing is annealed: temperature and rates are constant, and structure changes every so many steps.
A neuron's rate falls with its own use (metaplasticity), and homeostasis is slow: fast thresholds
would pull every neuron to whatever is shown now, and older prototypes would go. Classes are read
from the mean codes of their images.
"""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import labels_of
from harness.learning.going_on import Imprinting
from harness.learning.learner import Progress, Synapses, TrainingLog, silent
from harness.registry import later_key
from harness.rng import Rng
from harness.rules import plasticity, structural
from harness.rules.competition import Layer, compete, drive
from harness.rules.competitive_learner import CompetitiveConfig, CompetitiveLearner
from harness.rules.surprise import Traces


class SteadyConfig(CompetitiveConfig):
    """Keys of ``go_on``, and those that it shares with ``fit``."""

    batch: int = Field(50, ge=1, description="images per plastic step")
    prune: float = Field(
        0.3,
        ge=0,
        le=1,
        description="theta: remove synapses below theta times the neuron's mean",
    )
    regrow: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of the pruned synapses regrown at random empty sites",
    )

    steady_temperature: float = later_key(
        100.0, gt=0, description="T of the plastic competition when it goes on"
    )
    steady_rate: float = later_key(
        0.3, ge=0, le=1, description="share of eta, and of steady_homeostasis, when it goes on"
    )
    steady_homeostasis: float = later_key(
        0.03, ge=0, description="rate of the thresholds b when it goes on"
    )
    metaplasticity: float = later_key(
        20.0,
        ge=0,
        description="images that a neuron wins until its rate has halved, when it goes on; 0: its "
        "rate stays",
    )
    restructure_every: int = later_key(
        200, ge=1, description="steps between two rounds of pruning, when it goes on"
    )


def step(
    layer: Layer,
    inputs: torch.Tensor,
    wins: torch.Tensor,
    config: SteadyConfig,
    noise: torch.Generator,
) -> torch.Tensor:
    """Take one plastic step on a batch.

    As ``plasticity.learn``, but the log-step of neuron j is divided by 1 + wins_j / metaplasticity.

    Args:
        layer: One layer (E = 1), changed in place.
        inputs: x, (B, n).
        wins: (H,), sum of each neuron's responses so far; changed in place.
        config: The numbers.
        noise: Draws the spine noise.

    Returns:
        The batch mean of sum_j q_j u_j: the cosine of an input with its winners.
    """
    x = inputs.unsqueeze(0)
    u = drive(layer, x, config.synaptic_scaling)
    q = compete(layer, u, config.steady_temperature)
    change = plasticity.log_step(layer, x, q, config.eta * config.steady_rate, config)
    if config.metaplasticity:
        change.div_((1 + wins / config.metaplasticity).unsqueeze(1))
    layer.step += 1
    has_turnover = config.maintenance or config.noise
    if has_turnover and layer.step % config.turnover_every == 0:
        plasticity.add_turnover(layer, change, config, noise)
    plasticity.apply_log_step(layer, change, config.clip)
    wins += q[0].sum(0)
    surplus = q.mean(1).sub_(1.0 / q.shape[2])
    layer.threshold.add_(surplus, alpha=config.steady_homeostasis * config.steady_rate)
    return (q * u).sum() / len(inputs)


def restructure(layer: Layer, config: SteadyConfig, generator: torch.Generator) -> None:
    """Prune the layer and regrow, as at the end of an epoch of ``fit``."""
    removed = structural.prune(layer, config.prune)
    if config.regrow:
        structural.regrow(layer, round(config.regrow * removed), generator)


class SteadyLearner(Imprinting, CompetitiveLearner):
    """A competitive learner of one layer that goes on learning.

    The hidden layer learns from images alone. Labels only sum up the codes of each class: the
    read-out is the largest cosine with a class's mean code. A learner that was fitted goes on from
    there; its read-out is then that of the mean codes too.
    """

    config: SteadyConfig
    layer: Layer

    @abstractmethod
    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) as the layer's inputs (N, n)."""

    @abstractmethod
    def _codes(self, inputs: torch.Tensor) -> torch.Tensor:
        """The code (N, H) of inputs (N, n)."""

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass; ``rivals`` changes nothing, because nothing descends on a loss."""
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        rng = self.next_call()
        log = TrainingLog()
        with torch.no_grad():
            inputs = self._inputs(part.tensor(self.device))
            self._pass_over(inputs, rng, log, progress)
            self.imprint(self._codes(inputs), labels)
        self.stage = "steady"
        self.fitted = True
        progress(1.0, "one pass")
        return log

    def _pass_over(
        self, inputs: torch.Tensor, rng: Rng, log: TrainingLog, progress: Progress
    ) -> None:
        """Let the hidden layer learn from inputs (N, n) in a drawn order."""
        weight, threshold = self.layer.weight, self.layer.threshold
        wins = self.carried.get("wins", torch.zeros_like(threshold[0])).clone()
        steps = int(self.carried.get("steps", 0))
        # Steps are in place, and classifiers that were returned before keep their tensors.
        self.layer = Layer(weight.clone(), threshold.clone(), steps, Traces.of(self.carried))
        noise, regrowth = rng.torch("noise"), rng.torch("regrow")
        order = torch.randperm(len(inputs), generator=rng.torch("order")).to(self.device)
        explained = []
        for rows in order.split(self.config.batch):
            explained.append(step(self.layer, inputs[rows], wins, self.config, noise))
            if self.layer.step % self.config.restructure_every == 0:
                restructure(self.layer, self.config, regrowth)
            log.images_seen += len(rows)
            log.step(self)
            progress(log.images_seen / len(inputs), "one pass")
        log.rows.append({"explained": float(torch.stack(explained).mean())})
        self.carried["wins"] = wins
        self.carried["steps"] = torch.tensor(self.layer.step, device=self.device)
        self._carry_traces()

    def _carry_traces(self) -> None:
        """Let what the synapses remember be part of the state, if they remember anything."""
        if self.layer.traces is not None:
            self.carried |= self.layer.traces.carried()

    def classifier(self) -> nn.Module:
        """The code and its read-out; that of the mean codes, once it has gone on."""
        if self.stage != "steady":
            return super().classifier()
        return self.nearest_imprint(self.code())

    def connectome(self) -> list[Synapses]:
        """The hidden layer and its read-out; the mean codes, once it has gone on."""
        if self.stage != "steady":
            return super().connectome()
        return [*self.hidden_synapses(), self.imprinted()]
