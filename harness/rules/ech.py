"""ECH, the excitatory competitive Hebbian rule: this project's reconstruction, not the published equations.

The rule that it reconstructs (Inoue, Roehrbein & Knoblauch, arXiv 2603.03234) is known to this project by its abstract
only. Published parts, from the authors' ancestor rule (arXiv 2603.00588): excitatory plastic weights from U(0.01, 0.1),
a competitive Hebbian hidden layer, homeostatic biases, weight perturbation at the output. They are second-hand, from two
summaries that agree. The ancestor's activation, 2 sigmoid(z) - 1, is not used here. The rest is our choice.

Inhibition is carried by non-plastic pools of uniform weight; every plastic neuron is excitatory, so that all it sends
is positive. No operation holds the weights there: each update multiplies them by exp of something finite. From positive
weights that cannot change a sign: that all signs stay excitatory is by construction, not a finding.

Defaults differ from the prototype's, which are in brackets: temperature_end 400 (80), rising by equal factors (by equal
steps); homeostasis 0.3 (0.05); prune 0.3 (0.1); noise and maintenance 0 (0.04 and 0.003: log-normal weights need
them), every 10 steps (every step); readout_eta 0.03 (0.1), in batches of 2,000 (all images).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learning.fitting import UNLIMITED, balanced_rows
from harness.learning.heads import fit
from harness.learning.learner import (
    Budget,
    EpisodeClassifier,
    Learner,
    Progress,
    Synapses,
    TrainingLog,
    Tunable,
    silent,
)
from harness.rng import Rng
from harness.rules import plasticity
from harness.rules import readouts as readout

EMBED_BATCH = 512
Head = Literal["imprint", "delta", "nearest-mean", "cosine", "ridge", "log-ridge"]
OWN_HEADS = ("imprint", "delta")
STAGES = ("unfitted", "hidden", "classifier")


@dataclass(frozen=True)
class Course:
    """How much is trained: plastic steps without labels, third-factor steps, images a step, images of a read-out."""

    hidden: int
    gated: int
    batch: int
    labelled: int


@registry.learners.register("ech")
class ECH(Learner):
    """Excitatory competitive Hebbian rule (reconstruction): sparse code without labels, three-factor read-out."""

    typical_training_s = 20.0
    tunable = (Tunable("prune", 0.02, 0.9, "linear"),)

    class Config(registry.Config):
        """Every ingredient has a switch: a rate of 0, or false, turns it off."""

        hidden: int = Field(400, ge=2, description="hidden neurons H")
        divisive_inhibition: bool = Field(
            True, description="divide each image by its length (feed-forward inhibition)"
        )
        synaptic_scaling: bool = Field(
            True, description="divide each drive by the length of the neuron's weights"
        )
        code_temperature: float = Field(
            15.0, gt=0, description="T of the code that is read out and embedded"
        )

        epochs: int = Field(
            15, ge=1, description="passes over the training images for the hidden layer"
        )
        batch: int = Field(50, ge=1, description="images a plastic step")
        temperature_start: float = Field(
            20.0, gt=0, description="T of the plastic competition at the start"
        )
        temperature_end: float = Field(
            400.0, gt=0, description="T of the plastic competition at the end"
        )
        eta: float = Field(0.3, ge=0, le=1, description="Hebbian rate")
        offset: float = Field(
            0.02, gt=0, description="c: weights well below it hardly move; keeps log-steps finite"
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

        prune: float = Field(
            0.3,
            ge=0,
            lt=1,
            description="theta: remove synapses below theta times the neuron's mean",
        )
        regrow: float = Field(
            0.2,
            ge=0,
            le=1,
            description="share of the pruned synapses regrown at random empty sites",
        )
        prune_from: int = Field(2, ge=1, description="first epoch that ends with pruning")
        prune_until: float = Field(
            0.8, ge=0, le=1, description="share of the epochs after which pruning stops"
        )

        readout: Literal["delta", "perturbation"] = Field(
            "delta", description="three factors, or weight perturbation"
        )
        readout_eta: float = Field(0.03, gt=0, description="read-out rate, in RMS units of log V")
        readout_steps: int = Field(600, ge=1, description="read-out steps")
        readout_batch: int = Field(
            2000, ge=1, description="codes a read-out step; all of them where there are fewer"
        )
        perturbation: float = Field(
            0.05, gt=0, description="size of the weight perturbation in log V"
        )
        trials: int = Field(8, ge=1, description="antithetic pairs of perturbations a step")

        third_factor: float = Field(
            0.0, ge=0, le=0.1, description="eta_3: rate of the error-gated hidden steps"
        )
        third_factor_epochs: int = Field(
            2, ge=1, description="passes with the third factor, after all the others"
        )
        third_factor_temperature: float = Field(
            30.0, gt=0, description="T of the competition it gates"
        )
        feedback: Literal["v", "random"] = Field(
            "v", description="what carries the error to the hidden layer"
        )

        head: Head = Field(
            "log-ridge",
            description="few-shot read-out; log-ridge (of log h) for new classes, imprint for known",
        )
        scratch_head: Head = Field(
            "imprint", description="few-shot read-out where only the support set was seen"
        )
        head_steps: int = Field(100, ge=1, description="steps of the delta rule on a support set")
        adapt_steps: int = Field(
            20, ge=1, description="plastic steps on a support set, from scratch"
        )
        episodes_at_once: int = Field(
            8, ge=1, description="episodes that learn side by side; changes no value"
        )

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        self._begin()

    # ------------------------------------------------------------------------------------------------- training

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Hidden layer from images alone; then, where there are labels, the read-out (and the third factor).

        An image counts against the budget when it is shown to the hidden layer. A read-out learns from codes, for which
        each image is shown once.
        """
        self._begin()
        log, course = TrainingLog(), self._course(train, budget)
        log.add(self)
        with torch.no_grad():
            inputs = self._inputs(train.tensor(self.device))
            self._fit_hidden(inputs, course, log, progress)
            if train.labels is not None:
                rows = torch.from_numpy(balanced_rows(train.labels, course.labelled, self.rng)).to(
                    self.device
                )
                self._fit_labels(
                    inputs, torch.from_numpy(train.labels).to(self.device), rows, course, log
                )
        self.fitted = True
        progress(1.0, "")
        return log

    def _begin(self) -> None:
        """The state before learning, the same after every call."""
        config, n = self.config, int(torch.Size(self.image_shape).numel())
        draw = torch.rand(config.hidden, n, generator=self.rng.torch("hidden"))
        self.layer = plasticity.Layer(
            (0.01 + 0.09 * draw).to(self.device).unsqueeze(0),
            torch.zeros(1, config.hidden, device=self.device),
        )
        self.output = self._young_readout(self.n_classes)
        self.stage, self.fitted = "unfitted", False

    def _young_readout(self, classes: int) -> torch.Tensor:
        """V ~ U(0.01, 0.1), (H, classes)."""
        draw = torch.rand(self.config.hidden, classes, generator=self.rng.torch("readout", classes))
        return (0.01 + 0.09 * draw).to(self.device)

    @property
    def _gain(self) -> float:
        return self.config.hidden / 10

    def _course(self, train: Images, budget: Budget) -> Course:
        """What the config asks for. Where the budget is smaller, the hidden layer gives way to the labels up to half."""
        config, n, labelled = self.config, len(train), train.labels is not None
        batch = min(config.batch, n)
        hidden = config.epochs * (n // batch)
        gated = config.third_factor_epochs * (n // batch) if labelled and config.third_factor else 0
        readouts = (2 if gated else 1) if labelled else 0
        wanted = (hidden + gated) * batch + readouts * n
        left = budget.cap(wanted)
        if left == wanted:
            return Course(hidden, gated, batch, n)
        batch = max(1, min(batch, left // 2 if labelled else left))
        share = max(1, min(n, left // (2 * readouts))) if labelled else n
        left -= readouts * share
        gated = min(gated, left // 2 // batch)
        return Course(max(1, left // batch - gated), gated, batch, share)

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        from harness.rules.modules.competitive import inhibited

        return inhibited(images, self.config.divisive_inhibition)

    def _batches(
        self, n: int, batch: int, steps: int, purpose: str
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """(epoch, rows) of each step: a fresh shuffle an epoch, the incomplete batch at its end left out."""
        epoch = 0
        while steps > 0:
            epoch += 1
            order = torch.randperm(n, generator=self.rng.torch(purpose, epoch)).to(self.device)
            for rows in order[: n - n % batch].split(batch)[:steps]:
                yield epoch, rows
            steps -= n // batch

    def _fit_hidden(
        self, inputs: torch.Tensor, course: Course, log: TrainingLog, progress: Progress
    ) -> None:
        config, noise = self.config, self.rng.torch("noise")
        per_epoch = len(inputs) // course.batch
        epochs = -(-course.hidden // per_epoch)
        explained = []
        for step, (epoch, rows) in enumerate(
            self._batches(len(inputs), course.batch, course.hidden, "order")
        ):
            done = step / course.hidden
            explained.append(
                plasticity.learn(
                    self.layer,
                    inputs[rows].unsqueeze(0),
                    self._temperature(done),
                    1 - done,
                    config,
                    noise,
                )
            )
            log.images_seen += len(rows)
            log.step(self)
            if (step + 1) % per_epoch == 0 or step + 1 == course.hidden:
                self._restructure(epoch, epochs)
                log.add(
                    self,
                    epoch=epoch,
                    explained=torch.cat(explained).mean().item(),
                    **self._weight_statistics(),
                )
                progress(0.9 * (step + 1) / course.hidden, f"epoch {epoch}/{epochs}")
                explained.clear()
        self.stage = "hidden"

    def _temperature(self, done: float) -> float:
        """T rises by equal factors over the training of the hidden layer: neurons find their place before winners take all."""
        start, end = self.config.temperature_start, self.config.temperature_end
        return start * (end / start) ** done

    def _restructure(self, epoch: int, epochs: int) -> None:
        """Structural plasticity at the end of an epoch; outside its window only vanished synapses go."""
        config = self.config
        within = config.prune > 0 and config.prune_from <= epoch <= config.prune_until * epochs
        gone = plasticity.prune(self.layer, config.prune if within else 0.0)
        if within and config.regrow:
            plasticity.regrow(
                self.layer, round(config.regrow * gone), self.rng.torch("regrow", epoch)
            )

    def _weight_statistics(self) -> dict[str, float]:
        """Share of live synapses and the standard deviation of log w over them."""
        live = self.layer.live
        return {
            "live": live.float().mean().item(),
            "sigma_log_w": self.layer.weight[live].log().std().item(),
        }

    def _fit_labels(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        rows: torch.Tensor,
        course: Course,
        log: TrainingLog,
    ) -> None:
        """Read-outs from the images in ``rows``, third-factor steps on all of them."""
        codes = self._fit_readout(inputs[rows], labels[rows], "first", log)
        if course.gated:
            self._fit_gated(inputs, labels, course, log)
            codes = self._fit_readout(inputs[rows], labels[rows], "second", log)
        self.stage = "classifier"
        logits = readout.logits(codes.unsqueeze(0), self.output.unsqueeze(0), self._gain)[0]
        right = (logits.argmax(1) == labels[rows]).float().mean().item()
        log.add(self, train_accuracy=right, **self._weight_statistics())

    def _codes(self, inputs: torch.Tensor) -> torch.Tensor:
        """The code of inputs (N, n) that are already divided by their length: (N, H)."""

        def code(rows: torch.Tensor) -> torch.Tensor:
            u = plasticity.drive(self.layer, rows.unsqueeze(0), self.config.synaptic_scaling)
            return plasticity.compete(self.layer, u, self.config.code_temperature)[0]

        return in_batches(code, inputs, batch_size=EMBED_BATCH)

    def _fit_readout(
        self, inputs: torch.Tensor, labels: torch.Tensor, purpose: str, log: TrainingLog
    ) -> torch.Tensor:
        """Train V from its young state; the codes that it learned from."""
        codes, steps = self._codes(inputs), self.config.readout_steps
        log.images_seen += len(codes)
        size = min(self.config.readout_batch, len(codes))
        weight = self._young_readout(self.n_classes).unsqueeze(0)
        generator = self.rng.torch("readout batches", purpose)
        for step in range(steps):
            rows = slice(None)
            if size < len(codes):
                rows = torch.randint(len(codes), (size,), generator=generator).to(self.device)
            self._readout_step(
                weight,
                codes[rows].unsqueeze(0),
                labels[rows].unsqueeze(0),
                1 - step / steps,
                generator,
            )
        self.output = weight[0]
        return codes

    def _readout_step(
        self,
        weight: torch.Tensor,
        codes: torch.Tensor,
        labels: torch.Tensor,
        fade: float,
        generator: torch.Generator,
    ) -> None:
        """One step of V (E, H, C), in place, by the configured rule."""
        config, targets = self.config, readout.one_hot(labels, weight.shape[2])
        if config.readout == "delta":
            push = readout.delta_drive(codes, targets, weight, self._gain)
        else:
            push = readout.perturbation_drive(
                codes, targets, weight, self._gain, config.perturbation, config.trials, generator
            )
        readout.step(weight, push, config.readout_eta * fade, config.clip)

    def _fit_gated(
        self, inputs: torch.Tensor, labels: torch.Tensor, course: Course, log: TrainingLog
    ) -> None:
        """Third-factor steps on hidden synapses."""
        feedback, steps = self._feedback(), course.gated
        for step, (_, rows) in enumerate(
            self._batches(len(inputs), course.batch, steps, "gated order")
        ):
            self._gated_step(
                inputs[rows],
                readout.one_hot(labels[rows], self.n_classes),
                feedback,
                1 - step / steps,
            )
            log.images_seen += len(rows)
            log.step(self)
        plasticity.prune(self.layer, 0.0)

    def _feedback(self) -> torch.Tensor:
        """(H, C): what carries an output's error to hidden neurons."""
        if self.config.feedback == "random":
            return torch.randn(self.output.shape, generator=self.rng.torch("feedback")).to(
                self.device
            )
        return self.output - self.output.mean(1, keepdim=True)

    def _gated_step(
        self, inputs: torch.Tensor, targets: torch.Tensor, feedback: torch.Tensor, fade: float
    ) -> None:
        config = self.config
        logits = readout.logits(
            self._codes(inputs).unsqueeze(0), self.output.unsqueeze(0), self._gain
        )[0]
        error = (targets - torch.softmax(logits, dim=1)) @ feedback.T
        plasticity.third_factor(
            self.layer,
            inputs.unsqueeze(0),
            error.unsqueeze(0),
            config.third_factor * fade,
            config.third_factor_temperature,
            config.offset,
            config.synaptic_scaling,
        )

    # ------------------------------------------------------------------------------------------------- reading

    def _code(self, layer: plasticity.Layer, alone: bool) -> nn.Module:
        """Images to codes; ``alone``: by the only layer, without an episode axis."""
        from harness.rules.modules.competitive import CompetitiveCode

        config = self.config
        weight, threshold = (
            (layer.weight[0], layer.threshold[0]) if alone else (layer.weight, layer.threshold)
        )
        return CompetitiveCode(
            weight,
            threshold,
            config.code_temperature,
            config.divisive_inhibition,
            config.synaptic_scaling,
        )

    def classifier(self) -> nn.Module:
        from harness.rules.modules.competitive import ExcitatoryReadout

        if self.stage == "hidden":
            raise HarnessError(
                "this ech learner was trained without labels and has no classifier",
                hint="use adapt() with a support set, or fit it on labelled images",
            )
        return nn.Sequential(
            self._code(self.layer, alone=True), ExcitatoryReadout(self.output.clone(), self._gain)
        ).eval()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The sparse code h, (B, C, H, W) -> (B, hidden)."""
        with torch.no_grad():
            return in_batches(self._code(self.layer, alone=True), images, batch_size=EMBED_BATCH)

    def connectome(self) -> list[Synapses]:
        bundles = [Synapses("input->hidden", self.layer.weight[0].T, self.layer.live[0].T)]
        return (
            bundles
            if self.stage == "hidden"
            else [*bundles, Synapses("hidden->output", self.output)]
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {
            "W": self.layer.weight[0].clone(),
            "b": self.layer.threshold[0].clone(),
            "V": self.output.clone(),
            "stage": torch.tensor(STAGES.index(self.stage)),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        moved = {key: value.to(self.device).clone() for key, value in state.items()}
        self.layer = plasticity.Layer(moved["W"].unsqueeze(0), moved["b"].unsqueeze(0))
        self.output, self.stage = moved["V"], STAGES[int(moved["stage"])]
        self.fitted = self.stage != "unfitted"

    # ------------------------------------------------------------------------------------------------ adapting

    @property
    def _head(self) -> Head:
        return self.config.head if self.fitted else self.config.scratch_head

    @property
    def frozen_features(self) -> bool:
        return self.fitted

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """Fitted: a head on the frozen code. Not fitted: hidden layer and head learn from the support set alone."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        labels = support_labels.unsqueeze(0)
        with torch.no_grad():
            code = self._code(
                self.layer if self.fitted else self._learn_supports(support_images.unsqueeze(0)),
                alone=True,
            )
            codes = in_batches(code, support_images, batch_size=EMBED_BATCH).unsqueeze(0)
            if self._head in OWN_HEADS:
                return nn.Sequential(
                    code, ExcitatoryReadout(self._own_head(codes, labels, n_way)[0], self._gain)
                ).eval()
            return fit(self._head, codes, labels, n_way).on(code)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """All episodes side by side; from scratch each keeps its own H x n weights for as long as the result is used."""
        if self.fitted:
            head = self.head_many(self._many_codes(support_images), support_labels, n_way)
            return lambda queries: head(self._many_codes(queries))
        chunk = self.config.episodes_at_once
        supports = zip(support_images.split(chunk), support_labels.split(chunk), strict=True)
        parts = [self._adapt_side_by_side(images, labels, n_way) for images, labels in supports]
        return lambda queries: torch.cat(
            [part(x) for part, x in zip(parts, queries.split(chunk), strict=True)]
        )

    def _many_codes(self, images: torch.Tensor) -> torch.Tensor:
        """Codes of the frozen layer, (E, B, C, H, W) -> (E, B, hidden)."""
        codes = in_batches(
            self._code(self.layer, alone=True), images.flatten(0, 1), batch_size=EMBED_BATCH
        )
        return codes.unflatten(0, images.shape[:2])

    def _adapt_side_by_side(
        self, images: torch.Tensor, labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        with torch.no_grad():
            code = self._code(self._learn_supports(images), alone=False)
            head = self.head_many(code(images), labels, n_way)
        return lambda queries: head(code(queries))

    def _learn_supports(self, images: torch.Tensor) -> plasticity.Layer:
        """Hidden layers learned from the support sets (E, S, C, H, W) alone; a step sees a whole support set."""
        episodes, steps, noise = (
            len(images),
            self.config.adapt_steps,
            self.rng.torch("episode noise"),
        )
        layer = plasticity.Layer(
            self.layer.weight.repeat(episodes, 1, 1), self.layer.threshold.repeat(episodes, 1)
        )
        inputs = self._inputs(images)
        for step in range(steps):
            done = step / steps
            plasticity.learn(layer, inputs, self._temperature(done), 1 - done, self.config, noise)
        return layer

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """The heads of E episodes from codes (E, S, hidden)."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        with torch.no_grad():
            if self._head in OWN_HEADS:
                return ExcitatoryReadout(self._own_head(support, support_labels, n_way), self._gain)
            return fit(self._head, support, support_labels, n_way)

    def _own_head(self, codes: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
        """V (E, H, n_way) of the rule's own heads: each class's mean code (imprint), or learned (delta)."""
        if self._head == "delta":
            return self._learn_head(codes, labels, n_way)
        return readout.class_means(codes, labels, n_way).transpose(1, 2).contiguous()

    def _learn_head(self, codes: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
        """V (E, H, n_way) learned from the support codes by the configured read-out rule."""
        weight = self._young_readout(n_way).unsqueeze(0).repeat(len(codes), 1, 1)
        generator = self.rng.torch("head")
        for step in range(self.config.head_steps):
            self._readout_step(weight, codes, labels, 1 - step / self.config.head_steps, generator)
        return weight
