"""ECH, the excitatory competitive Hebbian rule: a reconstruction, not the published equations.

The rule that it reconstructs (Inoue, Roehrbein & Knoblauch, arXiv 2603.03234) is known to this
project by its abstract only. From the authors' ancestor rule (arXiv 2603.00588), second-hand by two
summaries that agree, come: excitatory plastic weights from U(0.01, 0.1), a competitive Hebbian
hidden layer, homeostatic biases, and weight perturbation at the output. The ancestor's activation,
2 sigmoid(z) - 1, is not used here. The rest is our choice.

Inhibition is carried by non-plastic pools of uniform weight. Every plastic neuron is excitatory:
all that it sends is positive. No clamp keeps it so: each update multiplies weights by exp of a
finite number, which cannot change a positive sign. That all signs stay excitatory is therefore by
construction, not a finding.
"""

from __future__ import annotations

import math
from functools import partial

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import balanced_rows
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    EpisodeClassifier,
    Progress,
    Synapses,
    TrainingLog,
    in_parts,
    silent,
)
from harness.rng import Rng
from harness.rules import gated, plasticity, readouts, structural
from harness.rules.competition import Layer, compete, drive, uniform_weights
from harness.rules.competitive_learner import STAGES, training_accuracy
from harness.rules.ech_config import EchConfig
from harness.rules.steady import SteadyLearner
from harness.rules.training_plan import TrainingPlan, plan_training, shuffled_batches


@registry.learners.register("ech", family="excitatory rules")
class ECH(SteadyLearner):
    """Excitatory competitive Hebbian rule (reconstruction): sparse code, three-factor read-out.

    The rule that it reconstructs (Inoue, Roehrbein & Knoblauch, arXiv 2603.03234) is known to this
    project by its abstract only.
    """

    embed_batch = 512
    own_heads = ("imprint", "delta")

    class Config(EchConfig):
        """Every ingredient has a switch: a rate of 0, or false, turns it off."""

    config: Config
    layer: Layer

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning."""
        hidden = self.config.hidden
        n = math.prod(self.image_shape)
        weight = uniform_weights(hidden, n, generator=self.rng.torch("hidden"))
        self.layer = Layer(
            weight.to(self.device).unsqueeze(0), torch.zeros(1, hidden, device=self.device)
        )
        self.output = self._initial_readout(self.n_classes)
        self.stage = "unfitted"
        self.fitted = False
        self.carried = {}

    def _initial_readout(self, classes: int) -> torch.Tensor:
        """V (H, classes) before learning."""
        generator = self.rng.torch("readout", classes)
        return uniform_weights(self.config.hidden, classes, generator=generator).to(self.device)

    @property
    def gain(self) -> float:
        """The gain g of the read-out."""
        return self.config.hidden / 10

    @property
    def head(self) -> str:
        """The few-shot head in use."""
        return self.config.head if self.fitted else self.config.scratch_head

    # ------------------------------------------------------------------------------------ training

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train the hidden layer on images alone, then on labels if there are any.

        The budget counts an image each time that the hidden layer sees it. A read-out learns from
        codes, for which each image is shown once.
        """
        self._reset()
        config = self.config
        plan = plan_training(
            len(train),
            config.batch,
            epochs=config.epochs,
            gated_epochs=config.third_factor_epochs if config.third_factor else 0,
            labelled=train.labels is not None,
            budget=budget,
        )
        first = config.readout_steps
        second = first if plan.gated_steps else 0
        parts = in_parts(progress, plan.hidden_steps, first, plan.gated_steps, second)
        log = TrainingLog()
        log.add(self)
        with torch.no_grad():
            inputs = self._inputs(train.tensor(self.device))
            self._fit_hidden(inputs, plan, log, parts[0])
            if train.labels is not None:
                chosen = balanced_rows(train.labels, plan.readout_images, self.rng)
                rows = torch.from_numpy(chosen).to(self.device)
                labels = torch.from_numpy(train.labels).to(self.device)
                self._fit_labels(inputs, labels, rows, plan, log, parts[1:])
        self.fitted = True
        progress(1.0, "")
        return log

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Images (..., C, H, W) as the layer's inputs (..., n)."""
        from harness.rules.modules.competitive import inhibited

        return inhibited(images, self.config.divisive_inhibition)

    def _fit_hidden(
        self, inputs: torch.Tensor, plan: TrainingPlan, log: TrainingLog, progress: Progress
    ) -> None:
        """Train the hidden layer; each epoch ends with structural plasticity and a row."""
        config = self.config
        noise = self.rng.torch("noise")
        steps = plan.hidden_steps
        per_epoch = len(inputs) // plan.batch
        epochs = -(-steps // per_epoch)
        explained = []
        batches = shuffled_batches(len(inputs), plan.batch, steps, partial(self.rng.torch, "order"))
        for step, (epoch, rows) in enumerate(batches):
            done = step / steps
            batch = inputs[rows].unsqueeze(0)
            temperature = config.temperature(done)
            explained.append(
                plasticity.learn(self.layer, batch, temperature, 1 - done, config, noise)
            )
            log.images_seen += len(rows)
            log.step(self)
            if (step + 1) % per_epoch == 0 or step + 1 == steps:
                self._restructure(epoch, epochs)
                mean_explained = torch.cat(explained).mean().item()
                log.add(
                    self, epoch=epoch, explained=mean_explained, **structural.statistics(self.layer)
                )
                progress((step + 1) / steps, f"epoch {epoch}/{epochs}")
                explained.clear()
        self.stage = "hidden"
        # Thresholds made all neurons win about as often.
        mean_wins = self.layer.step * plan.batch / config.hidden
        self.carried["wins"] = torch.full_like(self.layer.threshold[0], mean_wins)
        self._carry_traces()

    def _restructure(self, epoch: int, epochs: int) -> None:
        """Prune and regrow at the end of an epoch.

        Outside the window from ``prune_from`` to ``prune_until``, only vanished synapses go.
        """
        config = self.config
        window = range(min(config.prune_from, epochs), int(config.prune_until * epochs) + 1)
        within = config.prune > 0 and epoch in window
        removed = structural.prune(self.layer, config.prune if within else 0.0)
        if within and config.regrow:
            count = round(config.regrow * removed)
            structural.regrow(self.layer, count, self.rng.torch("regrow", epoch))

    def _fit_labels(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        rows: torch.Tensor,
        plan: TrainingPlan,
        log: TrainingLog,
        parts: list[Progress],
    ) -> None:
        """Train the read-out on ``rows``, and by the third factor the hidden layer on all rows."""
        codes = self._fit_readout(inputs[rows], labels[rows], "first", log, parts[0])
        if plan.gated_steps:
            self._fit_gated(inputs, labels, plan, log, parts[1])
            codes = self._fit_readout(inputs[rows], labels[rows], "second", log, parts[2])
        self.stage = "classifier"
        self.imprint(codes, labels[rows])
        accuracy = training_accuracy(codes, labels[rows], self.output, self.gain)
        log.add(self, train_accuracy=accuracy, **structural.statistics(self.layer))

    def _codes(self, inputs: torch.Tensor) -> torch.Tensor:
        """The code (N, H) of inputs (N, n)."""

        def code(rows: torch.Tensor) -> torch.Tensor:
            u = drive(self.layer, rows.unsqueeze(0), self.config.synaptic_scaling)
            return compete(self.layer, u, self.config.code_temperature)[0]

        return in_batches(code, inputs, batch_size=self.embed_batch)

    def _fit_readout(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        purpose: str,
        log: TrainingLog,
        progress: Progress,
    ) -> torch.Tensor:
        """Train V from its initial state; returns the codes that it learned from."""
        config = self.config
        codes = self._codes(inputs)
        log.images_seen += len(codes)
        targets = readouts.one_hot(labels, self.n_classes)
        weight = self._initial_readout(self.n_classes).unsqueeze(0)
        generator = self.rng.torch("readout batches", purpose)

        def push(v: torch.Tensor) -> torch.Tensor:
            x, t = readouts.draw_batch(codes, targets, config.readout_batch, generator)
            return self._readout_drive(x, t, v, generator)

        readouts.descend(
            weight,
            push,
            steps=config.readout_steps,
            rate=config.readout_eta,
            clip=config.clip,
            progress=progress,
        )
        self.output = weight[0]
        return codes

    def _readout_drive(
        self,
        codes: torch.Tensor,
        targets: torch.Tensor,
        weight: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """G (E, H, C) by the configured read-out rule."""
        config = self.config
        if config.readout == "delta":
            return readouts.delta_drive(codes, targets, weight, self.gain)
        return readouts.perturbation_drive(
            codes, targets, weight, self.gain, config.perturbation, config.trials, generator
        )

    def _fit_gated(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        plan: TrainingPlan,
        log: TrainingLog,
        progress: Progress,
    ) -> None:
        """Third-factor steps on the hidden layer, under the error of the current read-out."""
        config = self.config
        gate = gated.Gate(
            self.output,
            self._feedback(),
            self.gain,
            config.code_temperature,
            config.third_factor_temperature,
            config.third_factor,
            config.offset,
            config.synaptic_scaling,
        )
        steps = plan.gated_steps
        batches = shuffled_batches(
            len(inputs), plan.batch, steps, partial(self.rng.torch, "gated order")
        )
        for step, (_, rows) in enumerate(batches):
            gated.step(self.layer, inputs[rows], labels[rows], gate, 1 - step / steps)
            log.images_seen += len(rows)
            log.step(self)
            progress((step + 1) / steps, f"third factor, step {step + 1} of {steps}")
        structural.prune(self.layer, 0.0)

    def _feedback(self) -> torch.Tensor:
        """Weights (H, C) that carry the error of the outputs to the hidden neurons."""
        if self.config.feedback == "random":
            weight = torch.randn(self.output.shape, generator=self.rng.torch("feedback"))
            return weight.to(self.device)
        return gated.centred(self.output)

    # ---------------------------------------------------------------------------- code and state

    def _code_of(self, layer: Layer, *, single: bool) -> nn.Module:
        """The code of E layers or, if ``single``, of one layer without an episode axis."""
        from harness.rules.modules.competitive import CompetitiveCode

        config = self.config
        return CompetitiveCode(
            layer.weight[0] if single else layer.weight,
            layer.threshold[0] if single else layer.threshold,
            config.code_temperature,
            config.divisive_inhibition,
            config.synaptic_scaling,
        )

    def code(self) -> nn.Module:
        """Images (B, C, H, W) to the sparse code h (B, hidden)."""
        return self._code_of(self.layer, single=True)

    def hidden_synapses(self) -> list[Synapses]:
        """The hidden layer."""
        return [Synapses("input->hidden", self.layer.weight[0].T, self.layer.live[0].T)]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned, as tensors."""
        return {
            "W": self.layer.weight[0].clone(),
            "b": self.layer.threshold[0].clone(),
            "V": self.output.clone(),
            "stage": torch.tensor(STAGES.index(self.stage)),
            **self.carried_state(),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; the learner then behaves as the one that gave it."""
        own = self.load_carried(state)
        moved = {key: value.to(self.device).clone() for key, value in own.items()}
        self.layer = Layer(moved["W"].unsqueeze(0), moved["b"].unsqueeze(0))
        self.output = moved["V"]
        self.stage = STAGES[int(moved["stage"])]
        self.fitted = self.stage != "unfitted"

    # ------------------------------------------------------------------------------- few examples

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes; from scratch, ``episodes_at_once`` are learned together.

        From scratch, the result keeps H x n weights for each episode.
        """
        if self.fitted:
            return super().adapt_many(support_images, support_labels, n_way)
        chunk = self.config.episodes_at_once
        parts = []
        supports = zip(support_images.split(chunk), support_labels.split(chunk), strict=True)
        for images, labels in supports:
            parts.append(super().adapt_many(images, labels, n_way))

        def classify(queries: torch.Tensor) -> torch.Tensor:
            chunks = queries.split(chunk)
            return torch.cat([part(x) for part, x in zip(parts, chunks, strict=True)])

        return classify

    def episode_code(self, support_images: torch.Tensor) -> nn.Module:
        """The code learned from one support set (S, C, H, W)."""
        return self._code_of(self._learn_supports(support_images.unsqueeze(0)), single=True)

    def episode_codes(self, support_images: torch.Tensor) -> nn.Module:
        """The codes learned from support sets (E, S, C, H, W)."""
        return self._code_of(self._learn_supports(support_images), single=False)

    def _learn_supports(self, images: torch.Tensor) -> Layer:
        """Hidden layers learned from support sets (E, S, C, H, W); each step sees a whole set."""
        episodes = len(images)
        steps = self.config.adapt_steps
        noise = self.rng.torch("episode noise")
        layer = Layer(
            self.layer.weight.repeat(episodes, 1, 1), self.layer.threshold.repeat(episodes, 1)
        )
        inputs = self._inputs(images)
        for step in range(steps):
            done = step / steps
            temperature = self.config.temperature(done)
            plasticity.learn(layer, inputs, temperature, 1 - done, self.config, noise)
        return layer

    def own_head(self, codes: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
        """V (E, H, n_way): each class's mean code (imprint), or learned (delta)."""
        if self.head == "imprint":
            return readouts.class_means(codes, labels, n_way).transpose(1, 2).contiguous()
        config = self.config
        targets = readouts.one_hot(labels, n_way)
        weight = self._initial_readout(n_way).unsqueeze(0).repeat(len(codes), 1, 1)
        generator = self.rng.torch("head")
        readouts.descend(
            weight,
            lambda v: self._readout_drive(codes, targets, v, generator),
            steps=config.head_steps,
            rate=config.readout_eta,
            clip=config.clip,
        )
        return weight
