"""Stacks of competitive excitatory layers with local receptive fields: the rule for deeper networks and photographs.

Each layer is the hidden layer of ``ech`` (this project's reconstruction; see ``harness.rules.ech`` for what of it is
published), put at every place of an image: the neurons of a place compete for what their receptive field shows, and
the activity of neighbouring places is summed. Layers learn one after another from images alone. A layer may share its
weights between places (as a convolution does: quick, but no neuron can know its twin's weights) or give every place
neurons of its own (local in the strict sense). A layer whose kernel is the whole map is the fully connected one.

Read-outs are excitatory: class prototypes are imprinted by Hebbian learning in one pass, each class's total synaptic
strength held constant (heterosynaptic depression), and then refined by the delta rule in as many replays as the number
of examples warrants (consolidation). Everything here but the published parts named in ``ech`` is our choice.
"""

from __future__ import annotations

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

EMBED_BATCH = 256
Head = Literal["imprint", "consolidate", "nearest-mean", "cosine", "ridge"]
OWN_HEADS = ("imprint", "consolidate")
STAGES = ("unfitted", "hidden", "classifier")


class LayerConfig(registry.Config):
    """One layer of a stack."""

    neurons: int = Field(128, ge=2, description="neurons that compete at each place")
    kernel: int | None = Field(
        7, ge=1, description="side of the receptive field; null: the whole map"
    )
    stride: int = Field(1, ge=1, description="spacing of receptive fields")
    shared: bool = Field(
        True, description="one set of weights for all places; false: each place learns its own"
    )
    grid: int | None = Field(
        4, ge=1, description="activity is averaged in this many regions a side; null: in none"
    )
    read: int | None = Field(
        None,
        ge=1,
        description="where another layer follows: the read-out sees this one too, averaged "
        "in this many regions a side; null: it sees the last layer alone",
    )
    temperature: float = Field(100.0, gt=0, description="T of the code that is handed on")


@registry.learners.register("ech-stack")
class EchStack(Learner):
    """Excitatory competitive Hebbian layers with local receptive fields, one or more (reconstruction)."""

    typical_training_s = 20.0
    tunable = (Tunable("prune", 0.02, 0.9, "linear"),)

    class Config(registry.Config):
        """Every ingredient has a switch: a rate of 0, false or null turns it off."""

        layers: list[LayerConfig] = Field(
            [LayerConfig()], min_length=1, description="the layers, from the image upwards"
        )
        surround: float | None = Field(
            None,
            gt=0,
            description="see on- and off-centre channels with a surround of this "
            "many pixels (colours as opponent pairs) instead of the pixels",
        )
        semi_saturation: float = Field(
            0.3,
            ge=0,
            description="response is half of its largest where a patch has this "
            "share of the usual length",
        )
        synaptic_scaling: bool = Field(
            True, description="divide each drive by the length of the neuron's weights"
        )

        images: int = Field(
            30_000,
            ge=0,
            description="images shown to each layer; 0: layers stay as they were drawn",
        )
        batch: int = Field(20, ge=1, description="images a plastic step")
        patches: int = Field(
            1024, ge=1, description="patches a plastic step, drawn from its images (shared weights)"
        )
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
            0.0,
            ge=0,
            lt=1,
            description="theta: a finished layer loses synapses below theta times the "
            "neuron's mean",
        )

        gain: float = Field(20.0, gt=0, description="g of the read-out, for codes of length one")
        readout_eta: float = Field(0.03, gt=0, description="read-out rate, in RMS units of log V")
        readout_steps: int = Field(
            600, ge=0, description="delta-rule steps on the training set; 0: imprinted only"
        )
        readout_batch: int = Field(
            2000, ge=1, description="codes a read-out step; all of them where there are fewer"
        )

        head: Head = Field("consolidate", description="few-shot read-out of a trained stack")
        scratch_head: Head = Field(
            "consolidate", description="few-shot read-out where only the support set was seen"
        )
        head_steps: int = Field(
            60, ge=1, description="most replays of a support set when consolidating"
        )
        adapt_steps: int = Field(
            60, ge=1, description="plastic steps a layer on a support set, from scratch"
        )
        adapt_patches: int = Field(256, ge=1, description="patches a step, from scratch")

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        self._plan_layers()
        self._begin()

    def _plan_layers(self) -> None:
        """Kernel sizes and numbers of places and synapses of each layer, from the shape of the image."""
        channels, *sides = self.image_shape
        if self.config.surround is not None:
            channels *= 2
        self.kernels, self.places, self.fan_in, self.width = [], [], [], 0
        for depth, layer in enumerate(self.config.layers, start=1):
            kernel = layer.kernel or min(sides)
            if kernel > min(sides):
                raise HarnessError(
                    f"layer {depth} of ech-stack has kernel {kernel}, but its input is only "
                    f"{sides[0]} x {sides[1]}",
                    hint=f"kernel: at most {min(sides)}, or null for all of it",
                )
            sides = [(side - kernel) // layer.stride + 1 for side in sides]
            self.kernels.append(kernel)
            self.places.append(sides[0] * sides[1])
            self.fan_in.append(channels * kernel * kernel)
            channels, sides = layer.neurons, [layer.grid] * 2 if layer.grid else sides
            if depth == len(self.config.layers):
                self.width += channels * sides[0] * sides[1]
            elif layer.read:
                self.width += channels * layer.read**2

    def _begin(self) -> None:
        """The state before learning, the same after every call."""
        self.layers = [self._young_layer(depth) for depth in range(len(self.kernels))]
        self.sigma = [torch.zeros(1, device=self.device) for _ in self.kernels]
        self.output = torch.full((self.width, self.n_classes), 0.01, device=self.device)
        self.stage, self.fitted = "unfitted", False

    def _young_layer(self, depth: int, networks: int = 1) -> plasticity.Layer:
        """W ~ U(0.01, 0.1) and b = 0, (E, K, n) or (E * places, K, n); networks start alike."""
        layer = self.config.layers[depth]
        places = 1 if layer.shared else self.places[depth]
        draw = torch.rand(
            places, layer.neurons, self.fan_in[depth], generator=self.rng.torch("layer", depth)
        )
        weight = (0.01 + 0.09 * draw).to(self.device).repeat(networks, 1, 1)
        return plasticity.Layer(weight, torch.zeros(weight.shape[:2], device=self.device))

    # ------------------------------------------------------------------------------------------------- training

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Layer by layer from images alone; then, where there are labels, the read-out on the last one's code.

        An image counts against the budget when it is shown to a layer. The read-out is shown each image once.
        """
        self._begin()
        log, labels = TrainingLog(), train.labels
        log.add(self)
        hidden, shown = (
            len(self.layers) * self.config.images,
            len(train) if labels is not None else 0,
        )
        left = budget.cap(hidden + shown)
        if left < hidden + shown:  # layers give way to the labels up to half
            shown = min(shown, max(1, left // 2))
            hidden = min(hidden, left - shown)
        each = hidden // len(self.layers)
        with torch.no_grad():
            self._fit_layers(train, each, log, progress)
            self.stage = "hidden"
            if labels is not None:
                self._fit_readout(train.take(balanced_rows(labels, shown, self.rng)), log)
        self.fitted = True
        progress(1.0, "")
        return log

    def _fit_layers(self, train: Images, each: int, log: TrainingLog, progress: Progress) -> None:
        batch = min(self.config.batch, len(train))
        steps = each // batch
        for depth in range(len(self.layers)):
            rows = torch.from_numpy(self._shuffled(len(train), steps * batch, depth)).view(
                steps, batch
            )
            self.sigma[depth] = self._usual_length(
                self._below(self._images(train, slice(0, 200)), depth), depth
            )
            explained = []
            for step in range(steps):
                maps = self._below(self._images(train, rows[step].numpy()), depth)
                generator = self.rng.torch("patches", depth, step)
                explained.append(
                    self._learn(
                        depth,
                        self.layers[depth],
                        maps,
                        self.sigma[depth],
                        step / steps,
                        self.config.patches,
                        generator,
                    )
                )
                log.images_seen += batch
                log.step(self)
                if step % 100 == 99:
                    progress(0.9 * (depth + step / steps) / len(self.layers), f"layer {depth + 1}")
            if steps:
                plasticity.prune(self.layers[depth], self.config.prune)
                log.add(self, layer=depth + 1, explained=torch.stack(explained).mean().item())

    def _shuffled(self, n: int, count: int, depth: int):
        """``count`` rows out of n, in fresh shuffles."""
        import numpy as np

        orders = [
            self.rng.numpy("order", depth, turn).permutation(n) for turn in range(-(-count // n))
        ]
        return np.concatenate(orders)[:count] if orders else np.zeros(0, np.int64)

    def _images(self, train: Images, rows) -> torch.Tensor:
        """Some images as one network's maps, (1, B, C, H, W)."""
        return train.take(rows).tensor(self.device).unsqueeze(0)

    def _below(self, images: torch.Tensor, depth: int) -> torch.Tensor:
        """What layer ``depth`` is shown of images (1, B, C, H, W)."""
        return self._stack(self.layers[:depth], self.sigma[:depth]).maps(images)

    def _usual_length(self, maps: torch.Tensor, depth: int) -> torch.Tensor:
        """(E,) the semi-saturation: a share of the root mean square length of the patches of maps (E, B, C, H, W)."""
        from harness.rules.modules.local import lengths

        square = lengths(maps, self.kernels[depth], self.config.layers[depth].stride).square()
        return self.config.semi_saturation * square.mean((1, 2, 3)).sqrt()

    def _learn(
        self,
        depth: int,
        layer: plasticity.Layer,
        maps: torch.Tensor,
        sigma: torch.Tensor,
        done: float,
        count: int,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """One plastic step of E networks on their maps (E, B, C, H, W); the mean share of a patch that is explained."""
        from harness.rules.modules.local import patches, some_patches

        config, kernel, stride = self.config, self.kernels[depth], self.config.layers[depth].stride
        if config.layers[depth].shared:
            seen = some_patches(maps, kernel, stride, count, generator)
        else:
            seen = patches(maps, kernel, stride)
            seen, sigma = seen.transpose(1, 2).flatten(0, 1), sigma.repeat_interleave(seen.shape[2])
        length = torch.linalg.vector_norm(seen, dim=2)
        gate = length / (length + sigma.unsqueeze(1)).clamp_min(1e-12)
        gate = gate / gate.mean(1, keepdim=True).clamp_min(1e-6)
        temperature = (
            config.temperature_start * (config.temperature_end / config.temperature_start) ** done
        )
        explained = plasticity.learn(
            layer,
            seen / (length + 1e-6).unsqueeze(2),
            temperature,
            1 - done,
            config,
            generator,
            gate,
        )
        return explained.mean()

    def _fit_readout(self, train: Images, log: TrainingLog) -> None:
        """V imprinted with every class's mean code, then refined by the delta rule."""
        config = self.config
        codes = self._embedded(train)
        labels = torch.from_numpy(train.labels).to(self.device)
        weight = self._imprint(codes.unsqueeze(0), labels.unsqueeze(0), self.n_classes)
        log.images_seen += len(train)
        self.output, self.stage = weight[0], "classifier"
        generator, size = self.rng.torch("readout batches"), min(config.readout_batch, len(codes))
        for step in range(config.readout_steps):
            rows = (
                torch.randint(len(codes), (size,), generator=generator).to(self.device)
                if size < len(codes)
                else slice(None)
            )
            self._replay(
                weight,
                codes[rows].unsqueeze(0),
                labels[rows].unsqueeze(0),
                1 - step / config.readout_steps,
            )
        logits = readout.logits(codes.unsqueeze(0), weight, config.gain)[0]
        log.add(self, train_accuracy=(logits.argmax(1) == labels).float().mean().item())

    def _embedded(self, train: Images) -> torch.Tensor:
        """Embeddings (N, D), decoded piece by piece: a training set as floats may be large."""
        pieces = range(0, len(train), 16 * EMBED_BATCH)
        return torch.cat(
            [
                self.embed(train.take(slice(at, at + 16 * EMBED_BATCH)).tensor(self.device))
                for at in pieces
            ]
        )

    def _imprint(self, codes: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
        """V (E, D, classes): each class's mean code (Hebb), scaled to length one (heterosynaptic depression).

        A trace of every synapse stays, so that the delta rule, which only multiplies, can find it again.
        """
        means = readout.class_means(codes, labels, classes)
        means = means / torch.linalg.vector_norm(means, dim=2, keepdim=True).clamp_min(1e-12)
        return (means + 0.001).transpose(1, 2).contiguous()

    def _replay(
        self, weight: torch.Tensor, codes: torch.Tensor, labels: torch.Tensor, fade: float
    ) -> None:
        """One delta-rule step of V (E, D, C), in place."""
        push = readout.delta_drive(
            codes, readout.one_hot(labels, weight.shape[2]), weight, self.config.gain
        )
        readout.step(weight, push, self.config.readout_eta * fade, self.config.clip)

    # ------------------------------------------------------------------------------------------------- reading

    def _stack(self, layers: list[plasticity.Layer], sigma: list[torch.Tensor]) -> nn.Module:
        """The lowest ``len(layers)`` layers, of one network or of several, as a module."""
        from harness.rules.modules.local import LocalCode, Stack

        codes = [
            LocalCode(
                layer.weight,
                layer.threshold,
                half,
                kernel=kernel,
                stride=config.stride,
                temperature=config.temperature,
                scaling=self.config.synaptic_scaling,
                grid=config.grid,
            )
            for layer, half, kernel, config in zip(
                layers, sigma, self.kernels, self.config.layers, strict=False
            )
        ]
        return Stack(
            self.config.surround,
            codes,
            [layer.read for layer in self.config.layers[: len(layers) - 1]],
        ).eval()

    def classifier(self) -> nn.Module:
        """The stack and its excitatory read-out."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        if self.stage == "hidden":
            raise HarnessError(
                "this ech-stack learner was trained without labels and has no classifier",
                hint="use adapt() with a support set, or fit it on labelled images",
            )
        head = ExcitatoryReadout(self.output.clone(), self.config.gain)
        return nn.Sequential(self._stack(self.layers, self.sigma), head).eval()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The compressed activity of the last layer, of length one: (B, C, H, W) -> (B, D)."""
        with torch.no_grad():
            return in_batches(self._stack(self.layers, self.sigma), images, batch_size=EMBED_BATCH)

    def connectome(self) -> list[Synapses]:
        """A bundle a layer: inputs of a receptive field to its neurons; of all places where they have their own."""
        bundles = [
            Synapses(f"layer {depth}", layer.weight.flatten(0, 1).T, layer.live.flatten(0, 1).T)
            for depth, layer in enumerate(self.layers, start=1)
        ]
        return (
            bundles
            if self.stage == "hidden"
            else [*bundles, Synapses("hidden->output", self.output)]
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        state = {"V": self.output.clone(), "stage": torch.tensor(STAGES.index(self.stage))}
        for depth, (layer, sigma) in enumerate(zip(self.layers, self.sigma, strict=True)):
            state |= {
                f"W{depth}": layer.weight.clone(),
                f"b{depth}": layer.threshold.clone(),
                f"sigma{depth}": sigma.clone(),
            }
        return state

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        moved = {key: value.to(self.device).clone() for key, value in state.items()}
        depths = range(len(self.kernels))
        self.layers = [plasticity.Layer(moved[f"W{depth}"], moved[f"b{depth}"]) for depth in depths]
        self.sigma = [moved[f"sigma{depth}"] for depth in depths]
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
        """Fitted: a head on the frozen code. Not fitted: layers and head learn from the support set alone."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        labels = support_labels.unsqueeze(0)
        with torch.no_grad():
            stack = self._learned_stack(support_images.unsqueeze(0))
            codes = in_batches(stack, support_images, batch_size=EMBED_BATCH).unsqueeze(0)
            if self._head in OWN_HEADS:
                return nn.Sequential(
                    stack,
                    ExcitatoryReadout(self._own_head(codes, labels, n_way)[0], self.config.gain),
                ).eval()
            return fit(self._head, codes, labels, n_way).on(stack)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """All episodes side by side."""
        with torch.no_grad():
            stack = self._learned_stack(support_images)
            head = self.head_many(self._codes(stack, support_images), support_labels, n_way)
        return lambda queries: head(self._codes(stack, queries))

    def _codes(self, stack: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Codes (E, B, D) of images (E, B, C, H, W), by one trained stack or by each episode's own."""
        if not self.fitted:
            return stack(images)
        return in_batches(stack, images.flatten(0, 1), batch_size=EMBED_BATCH).unflatten(
            0, images.shape[:2]
        )

    def _learned_stack(self, support: torch.Tensor) -> nn.Module:
        """The trained stack; before training, one that learned from each support set (E, S, C, H, W) alone."""
        if self.fitted:
            return self._stack(self.layers, self.sigma)
        layers, sigma = [], []
        for depth in range(len(self.kernels)):
            maps = self._stack(layers, sigma).maps(support)
            layers.append(self._young_layer(depth, len(support)))
            sigma.append(self._usual_length(maps, depth))
            for step in range(self.config.adapt_steps if self.config.images else 0):
                self._learn(
                    depth,
                    layers[depth],
                    maps,
                    sigma[depth],
                    step / self.config.adapt_steps,
                    self.config.adapt_patches,
                    self.rng.torch("episode patches", depth, step),
                )
        return self._stack(layers, sigma)

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """The heads of E episodes from codes (E, S, D)."""
        from harness.rules.modules.competitive import ExcitatoryReadout

        with torch.no_grad():
            if self._head in OWN_HEADS:
                return ExcitatoryReadout(
                    self._own_head(support, support_labels, n_way), self.config.gain
                )
            return fit(self._head, support, support_labels, n_way)

    def _own_head(self, codes: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
        """V (E, D, n_way): imprinted; consolidated by replays, none after a single shot, most after many."""
        weight = self._imprint(codes, labels, n_way)
        if self._head == "consolidate":
            steps = round(self.config.head_steps * (1 - n_way / codes.shape[1]))
            for step in range(steps):
                self._replay(weight, codes, labels, 1 - step / steps)
        return weight
