"""What ``ech`` and ``ech-stack`` share: a code learned without labels, and its read-outs."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, cast

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.lazy import nn, torch
from harness.learning.connectome import READOUT
from harness.learning.fitting import unlabelled_error
from harness.learning.heads import HeadName, fit
from harness.learning.learner import EpisodeClassifier, Learner, Synapses, Tunable
from harness.rules import readouts

Stage = Literal["unfitted", "hidden", "classifier", "steady"]
STAGES: tuple[Stage, ...] = ("unfitted", "hidden", "classifier", "steady")
"""How far training went: not at all, the hidden layers alone, the read-out too, or beyond."""


class CompetitiveConfig(registry.Config):
    """Keys of excitatory competitive plasticity and of an excitatory read-out."""

    synaptic_scaling: bool = Field(
        True, description="divide each drive by the length of the neuron's weights"
    )
    temperature_start: float = Field(
        20.0, gt=0, description="T of the plastic competition at the start"
    )
    temperature_end: float = Field(
        400.0, gt=0, description="T of the plastic competition at the end"
    )
    eta: float = Field(0.3, ge=0, le=1, description="Hebbian rate")
    offset: float = Field(
        0.02, gt=0, description="c: weights far below it hardly change; keeps log-steps finite"
    )
    surprise: float | None = registry.later_key(
        None,
        gt=0,
        description="lambda: log w learns the log of the mean input and its surprise divided by "
        "lambda; null: w learns the mean input",
    )
    clip: float = Field(0.5, gt=0, le=1, description="largest step in log w")
    maintenance: float = Field(
        0.0, ge=0, le=0.5, description="lambda: pull of log w to its neuron's mean, per step"
    )
    noise: float = Field(0.0, ge=0, le=0.5, description="nu: spine noise in log w, per step")
    turnover_every: int = Field(
        10, ge=1, description="steps between two rounds of maintenance and noise"
    )
    homeostasis: float = Field(
        0.3, ge=0, description="rate of the thresholds b towards equal usage"
    )
    readout_eta: float = Field(0.03, gt=0, description="read-out rate, in RMS units of log V")
    readout_batch: int = Field(
        2000, ge=1, description="codes per read-out step, or all if there are fewer"
    )

    def temperature(self, done: float) -> float:
        """T when the share ``done`` of a layer's training is over; it rises geometrically.

        Neurons thus specialise before winners take all.
        """
        ratio = self.temperature_end / self.temperature_start
        return self.temperature_start * ratio**done


class CompetitiveLearner(Learner):
    """A code h that is learned without labels, and an excitatory read-out V (D, classes) of it.

    Few examples: once fitted, a head on the frozen code. Before that, code and head are learned
    from the support set alone. A head is either one of ``own_heads``, which are excitatory, or one
    of ``harness.learning.heads``.
    """

    typical_training_s = 120.0
    tunable = (Tunable("prune", 0.02, 0.9, "linear"),)
    embed_batch: ClassVar[int]
    """Images that pass through the code at once."""
    own_heads: ClassVar[tuple[str, ...]]
    """Heads that the rule learns itself."""

    config: registry.Config
    stage: Stage
    output: torch.Tensor

    @property
    @abstractmethod
    def gain(self) -> float:
        """The gain g of the read-out."""

    @property
    @abstractmethod
    def head(self) -> str:
        """The few-shot head in use: another one may be set for learning from scratch."""

    @abstractmethod
    def code(self) -> nn.Module:
        """Images (B, C, H, W) to the code (B, D) of the trained layers."""

    @abstractmethod
    def episode_code(self, support_images: torch.Tensor) -> nn.Module:
        """The code learned from one support set (S, C, H, W): (B, C, H, W) to (B, D)."""

    @abstractmethod
    def episode_codes(self, support_images: torch.Tensor) -> nn.Module:
        """The codes learned from support sets (E, S, ...): (E, B, C, H, W) to (E, B, D)."""

    @abstractmethod
    def own_head(self, codes: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
        """V (E, D, n_way) of one of the ``own_heads``, from codes (E, S, D) and labels (E, S)."""

    @abstractmethod
    def hidden_synapses(self) -> list[Synapses]:
        """The bundles of the hidden layers."""

    @property
    def frozen_features(self) -> bool:
        """Whether it was fitted: from scratch, every episode learns a code of its own."""
        return self.fitted

    def classifier(self) -> nn.Module:
        """The code and its read-out.

        Raises:
            HarnessError: It was trained without labels.
        """
        if self.stage == "hidden":
            raise unlabelled_error(self.kind)
        return self._on_code(self.code(), self.output.clone())

    def _on_code(self, code: nn.Module, weight: torch.Tensor) -> nn.Module:
        """A read-out V (D, C) on top of a code."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        return nn.Sequential(code, ExcitatoryReadout(weight, self.gain)).eval()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The code, (B, C, H, W) to (B, D)."""
        with torch.no_grad():
            return in_batches(self.code(), images, batch_size=self.embed_batch)

    def connectome(self) -> list[Synapses]:
        """The hidden layers and, unless trained without labels, the read-out."""
        bundles = self.hidden_synapses()
        if self.stage != "hidden":
            bundles.append(Synapses(READOUT, self.output))
        return bundles

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """A head on the frozen code or, before ``fit``, code and head from the support set."""
        labels = support_labels.unsqueeze(0)
        with torch.no_grad():
            code = self.code() if self.fitted else self.episode_code(support_images)
            codes = in_batches(code, support_images, batch_size=self.embed_batch).unsqueeze(0)
            if self.head in self.own_heads:
                return self._on_code(code, self.own_head(codes, labels, n_way)[0])
            return fit(cast(HeadName, self.head), codes, labels, n_way).on(code)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes, which are learned together."""
        code = self._batched(self.code()) if self.fitted else None
        with torch.no_grad():
            if code is None:
                code = self.episode_codes(support_images)
            head = self.head_many(code(support_images), support_labels, n_way)
        return lambda queries: head(code(queries))

    def _batched(self, code: nn.Module) -> EpisodeClassifier:
        """The trained code of images (E, B, C, H, W), as (E, B, D)."""

        def codes(images: torch.Tensor) -> torch.Tensor:
            flat = in_batches(code, images.flatten(0, 1), batch_size=self.embed_batch)
            return flat.unflatten(0, images.shape[:2])

        return codes

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """The heads of E episodes, from codes (E, S, D)."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        with torch.no_grad():
            if self.head in self.own_heads:
                weight = self.own_head(support, support_labels, n_way)
                return ExcitatoryReadout(weight, self.gain)
            return fit(cast(HeadName, self.head), support, support_labels, n_way)


def training_accuracy(
    codes: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, gain: float
) -> float:
    """Share of codes (N, D) that a read-out V (D, C) classifies correctly."""
    o = readouts.logits(codes.unsqueeze(0), weight.unsqueeze(0), gain)[0]
    return (o.argmax(1) == labels).float().mean().item()
