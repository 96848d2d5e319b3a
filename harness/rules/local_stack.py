"""A stack of competing layers with local receptive fields, whatever their plasticity.

Neurons of a place compete for what their receptive field shows, and the activity of neighbouring
places is averaged. Layers learn one after another from images alone. A layer may share its weights
between places, as a convolution does: this is fast, but no neuron can know the weights of its
copies. Or each place has neurons of its own, which is local in the strict sense. A kernel of the
whole map is a fully connected layer.

Read-outs are excitatory. Class prototypes are imprinted by Hebbian learning in one pass, with the
total synaptic strength of each class held constant (heterosynaptic depression). The delta rule then
refines them in replays (consolidation), the more the more examples there are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import balanced_rows
from harness.learning.learner import (
    NO_LIMIT,
    Budget,
    Progress,
    Synapses,
    TrainingLog,
    in_parts,
    silent,
)
from harness.rng import Rng
from harness.rules import readouts, structural
from harness.rules.competition import Layer, uniform_weights
from harness.rules.competitive_learner import STAGES, CompetitiveLearner, training_accuracy
from harness.rules.stack_config import LocalStackConfig, sizes

if TYPE_CHECKING:  # ``local`` imports torch
    from harness.rules.modules.local import Shown, Stack

SIGMA_IMAGES = 200
"""Training images that a layer's semi-saturation is estimated from."""


def _always(maps: torch.Tensor, _step: int) -> torch.Tensor:
    """The same maps at every step: a support set is small enough to be seen whole."""
    return maps


class LocalStack(CompetitiveLearner):
    """Layers of local receptive fields, one on another; a subclass says how each learns."""

    embed_batch = 256
    own_heads = ("imprint", "consolidate")

    config: LocalStackConfig
    layers: list[Layer]
    sigma: list[torch.Tensor]
    """Semi-saturation of each layer, (E,)."""

    def __init__(
        self, config: LocalStackConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.sizes, self.width = sizes(config, image_shape, self.kind)
        self._reset()

    def _reset(self) -> None:
        """Return to the state before learning."""
        self.layers = [self._initial_layer(depth) for depth in range(len(self.sizes))]
        self.sigma = [torch.zeros(1, device=self.device) for _ in self.sizes]
        self.output = torch.full((self.width, self.n_classes), 0.01, device=self.device)
        self.stage = "unfitted"
        self.fitted = False

    def _initial_layer(self, depth: int, networks: int = 1) -> Layer:
        """W ~ U(0.01, 0.1) and b = 0 of E networks, which all start alike.

        Weights are (E, K, n) if shared by all places, and (E * places, K, n) otherwise.
        """
        layer = self.config.layers[depth]
        size = self.sizes[depth]
        places = 1 if layer.shared else size.places
        generator = self.rng.torch("layer", depth)
        weight = uniform_weights(places, layer.neurons, size.fan_in, generator=generator)
        repeated = weight.to(self.device).repeat(networks, 1, 1)
        return Layer(repeated, torch.zeros(repeated.shape[:2], device=self.device))

    @property
    def scaling(self) -> bool:
        """Whether each neuron's drive is divided by the length of its weights."""
        return True

    @property
    def gain(self) -> float:
        """The gain g of the read-out."""
        return self.config.gain

    @property
    def head(self) -> str:
        """The few-shot head in use."""
        return self.config.head if self.fitted else self.config.scratch_head

    # ------------------------------------------------------------------------------------ training

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train layer by layer on images alone, then the read-out if there are labels.

        The budget counts an image each time that a layer sees it. The read-out sees each image
        once.
        """
        self._reset()
        log = TrainingLog()
        log.add(self)
        images_per_layer, readout_images = self._split_budget(train, budget)
        in_layers, in_readout = in_parts(progress, 0.9, 0.1)
        with torch.no_grad():
            self._fit_layers(train, images_per_layer, log, in_layers)
            self.stage = "hidden"
            if train.labels is not None:
                rows = balanced_rows(train.labels, readout_images, self.rng)
                self._fit_readout(train.take(rows), train.labels[rows], log, in_readout)
        self.fitted = True
        progress(1.0, "")
        return log

    def _split_budget(self, train: Images, budget: Budget) -> tuple[int, int]:
        """Images shown to each layer, and images of the read-out.

        Layers give up images for the labels, up to half of the budget.
        """
        hidden = len(self.layers) * self.config.images
        readout = len(train) if train.labels is not None else 0
        left = budget.cap(hidden + readout)
        if left < hidden + readout:
            readout = min(readout, max(1, left // 2))
            hidden = min(hidden, left - readout)
        return hidden // len(self.layers), readout

    def _fit_layers(
        self, train: Images, images_per_layer: int, log: TrainingLog, progress: Progress
    ) -> None:
        batch = min(self.config.batch, len(train))
        steps = images_per_layer // batch
        depths = len(self.layers)
        for depth, layer in enumerate(self.layers):
            rows = self._shuffled(len(train), steps * batch, depth).reshape(steps, batch)
            sample = self._input(train.take(np.arange(min(SIGMA_IMAGES, len(train)))), depth)
            self.sigma[depth] = self._semi_saturation(sample, depth)

            def maps(step: int, depth: int = depth, rows: np.ndarray = rows) -> torch.Tensor:
                return self._input(train.take(rows[step]), depth)

            def learned(step: int, depth: int = depth) -> None:
                log.images_seen += batch
                log.step(self)
                progress((depth + step / steps) / depths, f"layer {depth + 1}")

            if steps:
                shown = self._shown(depth, maps, self.sigma[depth], steps)
                explained = self._learn_layer(layer, shown, learned)
                structural.prune(layer, self.config.prune)
                log.add(self, layer=depth + 1, explained=explained)

    def _shown(
        self,
        depth: int,
        maps: Callable[[int], torch.Tensor],
        sigma: torch.Tensor,
        steps: int,
        *,
        episode: bool = False,
    ) -> Shown:
        """What layer ``depth`` of E networks sees while it learns."""
        from harness.rules.modules.local import Shown

        layer = self.config.layers[depth]
        return Shown(
            maps,
            steps,
            kernel=self.sizes[depth].kernel,
            stride=layer.stride,
            shared=layer.shared,
            sigma=sigma,
            count=self.config.adapt_patches if episode else self.config.patches,
            generator=partial(self.rng.torch, "episode patches" if episode else "patches", depth),
        )

    def _shuffled(self, n: int, count: int, depth: int) -> np.ndarray:
        """``count`` rows out of n; each row comes once before any comes again."""
        passes = -(-count // n)
        if not passes:
            return np.zeros(0, np.int64)
        orders = [self.rng.numpy("order", depth, i).permutation(n) for i in range(passes)]
        return np.concatenate(orders)[:count]

    def _input(self, images: Images, depth: int) -> torch.Tensor:
        """What layer ``depth`` sees of images, as maps (1, B, C, H, W)."""
        below = self._stack(self.layers[:depth], self.sigma[:depth])
        return below.maps(images.tensor(self.device).unsqueeze(0))

    def _semi_saturation(self, maps: torch.Tensor, depth: int) -> torch.Tensor:
        """The sigma of E networks, (E,): a share of the RMS length of patches (E, B, C, H, W)."""
        from harness.rules.modules.local import lengths

        length = lengths(maps, self.sizes[depth].kernel, self.config.layers[depth].stride)
        rms = length.square().mean((1, 2, 3)).sqrt()
        return self.config.semi_saturation * rms

    @abstractmethod
    def _learn_layer(
        self, layer: Layer, shown: Shown, learned: Callable[[int], None] = lambda _: None
    ) -> float:
        """Learn one layer of E networks from all that it is shown.

        Args:
            layer: The layer of each network, changed in place.
            shown: Patches, step by step.
            learned: Is told each step that is over.

        Returns:
            The mean cosine of a patch with its winners.
        """

    def _fit_readout(
        self, train: Images, labels: np.ndarray, log: TrainingLog, progress: Progress
    ) -> None:
        """Imprint every class's mean code in V, then refine it by the delta rule."""
        config = self.config
        codes = self._embedded(train)
        y = torch.from_numpy(labels).to(self.device)
        targets = readouts.one_hot(y, self.n_classes)
        weight = readouts.imprint(codes.unsqueeze(0), y.unsqueeze(0), self.n_classes)
        log.images_seen += len(train)
        self.output = weight[0]
        self.stage = "classifier"
        generator = self.rng.torch("readout batches")

        def push(v: torch.Tensor) -> torch.Tensor:
            x, t = readouts.draw_batch(codes, targets, config.readout_batch, generator)
            return readouts.delta_drive(x, t, v, config.gain)

        readouts.descend(
            weight,
            push,
            steps=config.readout_steps,
            rate=config.readout_eta,
            clip=config.clip,
            progress=progress,
        )
        accuracy = training_accuracy(codes, y, weight[0], config.gain)
        log.add(self, train_accuracy=accuracy)

    def _embedded(self, train: Images) -> torch.Tensor:
        """Embeddings (N, D), chunk by chunk: as floats, a whole training set may be too large."""
        chunk = 16 * self.embed_batch
        parts = []
        for start in range(0, len(train), chunk):
            rows = np.arange(start, min(start + chunk, len(train)))
            parts.append(self.embed(train.take(rows).tensor(self.device)))
        return torch.cat(parts)

    # ---------------------------------------------------------------------------- code and state

    def _stack(self, layers: list[Layer], sigma: list[torch.Tensor]) -> Stack:
        """The lowest ``len(layers)`` layers, of one network or of E, as a module."""
        from harness.rules.modules import local

        codes = []
        for layer, half, size, config in zip(
            layers, sigma, self.sizes, self.config.layers, strict=False
        ):
            code = local.LocalCode(
                layer.weight,
                layer.threshold,
                half,
                kernel=size.kernel,
                stride=config.stride,
                temperature=config.temperature,
                scaling=self.scaling,
                grid=config.grid,
            )
            codes.append(code)
        reads = [layer.read for layer in self.config.layers[: len(layers) - 1]]
        return local.Stack(self.config.surround, codes, reads).eval()

    def code(self) -> nn.Module:
        """Images to the compressed activity of the last layer, of length one, (B, D)."""
        return self._stack(self.layers, self.sigma)

    def hidden_synapses(self) -> list[Synapses]:
        """A bundle per layer: from the inputs of a receptive field to its neurons.

        If each place has neurons of its own, the bundle holds the neurons of all places.
        """
        return [
            Synapses(f"layer {depth}", layer.weight.flatten(0, 1).T, layer.live.flatten(0, 1).T)
            for depth, layer in enumerate(self.layers, start=1)
        ]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned, as tensors."""
        state = {"V": self.output.clone(), "stage": torch.tensor(STAGES.index(self.stage))}
        for depth, (layer, sigma) in enumerate(zip(self.layers, self.sigma, strict=True)):
            state[f"W{depth}"] = layer.weight.clone()
            state[f"b{depth}"] = layer.threshold.clone()
            state[f"sigma{depth}"] = sigma.clone()
        return state

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; the learner then behaves as the one that gave it."""
        moved = {key: value.to(self.device).clone() for key, value in state.items()}
        depths = range(len(self.sizes))
        self.layers = [Layer(moved[f"W{depth}"], moved[f"b{depth}"]) for depth in depths]
        self.sigma = [moved[f"sigma{depth}"] for depth in depths]
        self.output = moved["V"]
        self.stage = STAGES[int(moved["stage"])]
        self.fitted = self.stage != "unfitted"

    # ------------------------------------------------------------------------------- few examples

    def episode_code(self, support_images: torch.Tensor) -> nn.Module:
        """The stack learned from one support set (S, C, H, W)."""
        return self.episode_codes(support_images.unsqueeze(0))

    def episode_codes(self, support_images: torch.Tensor) -> nn.Module:
        """The stacks learned from support sets (E, S, C, H, W), layer by layer."""
        steps = self.config.adapt_steps if self.config.images else 0
        layers: list[Layer] = []
        sigma: list[torch.Tensor] = []
        for depth in range(len(self.sizes)):
            maps = self._stack(layers, sigma).maps(support_images)
            layers.append(self._initial_layer(depth, len(support_images)))
            sigma.append(self._semi_saturation(maps, depth))
            if steps:
                shown = self._shown(
                    depth, partial(_always, maps), sigma[depth], steps, episode=True
                )
                self._learn_layer(layers[depth], shown)
        return self._stack(layers, sigma)

    def own_head(self, codes: torch.Tensor, labels: torch.Tensor, n_way: int) -> torch.Tensor:
        """V (E, D, n_way): imprinted, and consolidated by replays if that is the head.

        There are head_steps (1 - n_way / S) replays of S images: none for one image per class,
        nearly all for many.
        """
        weight = readouts.imprint(codes, labels, n_way)
        if self.head == "imprint":
            return weight
        config = self.config
        targets = readouts.one_hot(labels, n_way)
        replays = round(config.head_steps * (1 - n_way / codes.shape[1]))
        readouts.descend(
            weight,
            lambda v: readouts.delta_drive(codes, targets, v, config.gain),
            steps=replays,
            rate=config.readout_eta,
            clip=config.clip,
        )
        return weight
