"""Backpropagation on a network for images: LeNet, Conv4 or any body, in the variants of ``mlp``."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

from pydantic import Field, field_serializer, model_validator

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.backprop import BackpropConfig, BackpropLearner
from harness.learning.body import ChosenBody, seeded
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.supervised import Tensors
from harness.registry import learners

FILTERS = {"lenet": 32, "conv4": 64}
"""Networks that this file has in a form of its own, and filters of their first block."""

UNITS = 1024
"""Units of the dense layer of ``lenet``, if not given."""


@learners.register("cnn", family="backprop")
class Cnn(BackpropLearner):
    """Backpropagation on a LeNet, Conv4 or any body: plain, sparse, pruned or adversarial.

    - ``lenet``: two blocks of 5 x 5 filters, ReLU and 2 x 2 max pooling, then a dense layer. With
      32 and 64 filters and 1,024 units it is the network that Madry et al. (2018) train on MNIST.
      LeCun et al. (1998) had 6, 16 and 120.
    - ``conv4``: four blocks of 3 x 3 filters with batch normalisation (Vinyals et al. 2016), and no
      dense layer. Statistics are those of the batch in training and running ones otherwise, i.e.
      inductive.
    - any other body (`harness list bodies`), also with keys or of your own code, and a linear
      layer on it.

    The other keys are those of ``mlp``, which names their sources. With ``non_negative``, all
    filters are, and a layer's pool inhibits each place equally; scales of a normalisation are free.
    That and ``certified_eps`` are for ``lenet`` and ``conv4``.
    """

    typical_training_s = 300.0

    class Config(BackpropConfig):
        """Keys of ``cnn``."""

        body: ChosenBody = Field(
            ChosenBody("lenet"),
            description="which network (`harness list bodies`), or package.module:name",
            json_schema_extra={"default": "lenet"},
        )
        filters: int | None = Field(
            None,
            ge=1,
            description="filters of the first block; null: 32 for lenet, 64 for conv4. The "
            "second block of lenet has twice as many; all blocks of conv4 have the same",
        )
        units: int = Field(UNITS, ge=1, description="units of the dense layer of lenet")
        epochs: int = Field(10, ge=1, description="passes over the training set")

        @property
        def is_own(self) -> bool:
            """Whether it is a network that this file has in a form of its own."""
            return self.body.is_bare and self.body.name in FILTERS

        @field_serializer("body", when_used="json")
        def _own_by_name(self, body: ChosenBody) -> str | dict[str, Any]:
            return body.name if self.is_own else body.to_json()

        @model_validator(mode="after")
        def _keys_are_used(self) -> Self:
            if self.is_own:
                return self
            if self.filters is not None or self.units != UNITS:
                raise ValueError(
                    "`filters` and `units` beside `body` are those of a plain lenet or conv4; "
                    "other bodies have keys of their own: body: {name: ..., key: value}"
                )
            if self.non_negative or self.certified_eps:
                raise ValueError("`non_negative` and `certified_eps` need a plain lenet or conv4")
            return self

    config: Config

    @cached_property
    def template(self) -> nn.Module:
        """The untrained body, on the learner's device; only its structure is used in training."""
        generator = self.rng.torch("initial weights")
        return self.config.body.untrained(self.image_shape, generator).to(self.device)

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train in mini-batches; each epoch logs its mean loss and accuracy."""
        with seeded(self.rng.child("draws of the body").seed, self.device):
            return super().fit(train, budget=budget, progress=progress)

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass in mini-batches, with the moments of the calls before."""
        calls = int(self.carried.get("calls", 0))
        with seeded(self.rng.child("draws of the body", calls).seed, self.device):
            return super().go_on(part, rivals=rivals, progress=progress)

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """A head on the frozen embedding or, before ``fit``, a network trained from scratch."""
        with seeded(self.rng.child("draws of the body").seed, self.device):
            return super().adapt(support_images, support_labels, n_way)

    def to(self, device: str | torch.device) -> Cnn:
        """Move the learner to ``device``."""
        self.__dict__.pop("template", None)
        super().to(device)
        return self

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with He's variance, or uniform ones of one sign with that variance."""
        config = self.config
        if not config.is_own:
            return self._initial_on_body(n_out)
        from harness.learning.convnets import init_convnet

        is_lenet = config.body.name == "lenet"
        filters = config.filters or FILTERS[config.body.name]
        return init_convnet(
            self.image_shape,
            filters=[filters, 2 * filters] if is_lenet else [filters] * 4,
            kernel=5 if is_lenet else 3,
            dense=[config.units, n_out] if is_lenet else [n_out],
            generator=self.rng.torch("initial weights"),
            normed=not is_lenet,
            non_negative=config.non_negative,
        )

    def _initial_on_body(self, n_out: int) -> Tensors:
        from harness.learning import modular
        from harness.learning.bodies import embedding_width

        body = self.config.body.untrained(self.image_shape, self.rng.torch("initial weights"))
        width = embedding_width(body.eval(), self.image_shape)
        return modular.init(body, width, n_out, self.rng.torch("initial weights", "output"))

    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Logits."""
        if not self.config.is_own:
            from harness.learning import modular

            return modular.logits(self.template, x, tensors, training=training)
        from harness.learning.convnets import convnet

        return convnet(x, tensors, inhibited=self.config.inhibited, training=training)

    def worst_logits(
        self, low: torch.Tensor, high: torch.Tensor, labels: torch.Tensor, tensors: Tensors
    ) -> torch.Tensor:
        """The logits least favourable to the labels, by interval bounds."""
        from harness.learning.certified import convnet_interval, worst_logits
        from harness.learning.convnets import folded, n_layers

        plain = folded(tensors, inhibited=self.config.inhibited)
        last = n_layers(plain) - 1
        hidden = convnet_interval((low, high), plain)
        return worst_logits(hidden, plain[f"weight{last}"], plain[f"bias{last}"], labels)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The network; a plain lenet or conv4 has pools and normalisation folded into weights."""
        if not self.config.is_own:
            from harness.learning import modular

            return modular.network(self.template, tensors, activity=activity)
        from harness.learning.convnets import convnet, folded
        from harness.learning.nets import FrozenFunction

        plain = folded(tensors, inhibited=self.config.inhibited)
        return FrozenFunction(convnet, plain, activity=activity)

    def connectome(self) -> list[Synapses]:
        """One bundle per layer.

        A convolution's weights are (inputs of one position, filters), shared by all positions.
        """
        if not self.config.is_own:
            from harness.learning import modular

            return [
                self.synapses(name, weight, presynaptic_sign=is_dense)
                for name, (weight, is_dense) in modular.layers(self.template, self.tensors).items()
            ]
        from harness.learning.convnets import n_layers

        layers = range(n_layers(self.tensors))
        return [self._bundle(i, self.tensors[f"weight{i}"]) for i in layers]

    def _bundle(self, i: int, weight: torch.Tensor) -> Synapses:
        if weight.ndim == 4:
            return self.synapses(f"conv{i + 1}", weight.flatten(1).T, presynaptic_sign=False)
        return self.synapses(f"dense{i + 1}", weight)
