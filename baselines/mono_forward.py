"""Mono-Forward: every layer learns from a read-out of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from harness.lazy import F, nn, torch
from harness.learning.convolutional import (
    POOLED,
    ConvolutionalConfig,
    ConvolutionalLearner,
    bias_gradient,
    drive,
    shapes,
    weight_gradient,
)
from harness.learning.convolved import synapses_of
from harness.learning.learner import Synapses
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.perceptron import Hidden, bundle_names, layer_sizes
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

Prediction = Literal["last", "sum"]


@learners.register("mono-forward", family="local losses")
class MonoForward(ConvolutionalLearner):
    """Layers that each minimise the cross-entropy of their own read-out (arXiv 2501.09238).

    Hidden layer i has the activity h_i = relu(h_{i-1} W_i + b_i) and the goodness g_i = h_i M_i of
    each class. Its loss, the cross-entropy of softmax(g_i), changes W_i, b_i and M_i alone: no
    error passes from a layer to the one below. With one hidden layer this is backpropagation.

    The activity of a convolution is a map, which M_i reads as a whole (the paper's convolutional
    networks). Here it is pooled first, h_i = pool(relu(z_i)): the paper's pooling is not known to
    us.
    """

    typical_training_s = 500.0

    class Config(ConvolutionalConfig):
        """Keys of ``mono-forward``."""

        hidden: Hidden = Field(
            [1000, 1000], description="units in the hidden layer, or a list with one entry a layer"
        )
        predict: Prediction = Field(
            "last", description="answer by the goodness of the last layer, or by the sum of all"
        )

        @model_validator(mode="after")
        def _layers_exist(self) -> MonoForward.Config:
            if not self.channels and not layer_sizes(self.hidden):
                raise ValueError("there are no hidden layers: give hidden or channels")
            return self

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Weights with He's variance; read-outs of variance 1 / units; biases of zero."""
        from harness.learning.nets import he_weights

        generator = self.rng.torch("initial weights")
        tensors: Tensors = {}
        activity = torch.zeros(1, *self.image_shape)
        *hidden, _ = shapes(self.image_shape, self.config, n_out)
        for i, layer in enumerate(hidden):
            weight = he_weights(*layer.weight, fan_in=layer.fan_in, generator=generator)
            tensors[f"weight{i}"] = weight
            tensors[f"bias{i}"] = torch.zeros(layer.bias)
            activity = _layer(activity, weight)
            units = activity[0].numel()
            tensors[f"readout{i}"] = torch.randn(units, n_out, generator=generator) / units**0.5
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """The local losses."""
        return LocalLosses(tensors, self.config, adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The layers, and the read-outs that answer."""
        from harness.learning.nets import FrozenFunction

        if activity:
            return FrozenFunction(_last_activity, tensors)
        return FrozenFunction(_answer, tensors, predict=self.config.predict)

    def connectome(self) -> list[Synapses]:
        """A bundle for each layer, and one for each read-out."""
        *names, last = bundle_names(layers_of(self.tensors) + 1)
        layers = zip(synapses_of(self.tensors), names, strict=True)
        local = [f"hidden{i + 1}->local output" for i in range(len(names) - 1)]
        readouts = [
            self.synapses(name, self.tensors[f"readout{i}"])
            for i, name in enumerate([*local, last])
        ]
        return [*(replace(bundle, name=name) for bundle, name in layers), *readouts]


class LocalLosses:
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(self, tensors: Tensors, config: MonoForward.Config, *, adapting: bool) -> None:
        self.tensors = tensors
        self.predict = config.predict
        self.rate_falls = not adapting
        self.optimiser = ProximalOptimiser(
            list(tensors.values()),
            optimiser="adam",
            lr=config.adapt_lr if adapting else config.lr,
            weights=[not name.startswith("bias") for name in tensors],
        )

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step in every layer."""
        with torch.no_grad():
            gradients = []
            goodness = []
            h = x
            for i in range(layers_of(self.tensors)):
                weight, bias, readout = (
                    self.tensors[f"{part}{i}"] for part in ("weight", "bias", "readout")
                )
                below = h if weight.ndim == 4 else h.flatten(1)
                z = drive(below, weight, bias)
                peak, places = _peaks(z)
                h = F.relu(peak)
                read = h.flatten(1)
                g = read @ readout
                error = (g.softmax(1) - F.one_hot(y, g.shape[1])) / len(y)
                by_peak = (error @ readout.T).view_as(h) * (h > 0)
                by_drive = _back_to(z, by_peak, places)
                gradients += [weight_gradient(below, weight, by_drive), bias_gradient(by_drive)]
                gradients.append(read.T @ error)
                goodness.append(g)
            self.optimiser.step(gradients, 1 - done if self.rate_falls else 1.0)
            logits = goodness[-1] if self.predict == "last" else torch.stack(goodness).sum(0)
            return F.cross_entropy(logits, y), logits


def layers_of(tensors: Tensors) -> int:
    """Number of hidden layers."""
    return sum(name.startswith("weight") for name in tensors)


def _peaks(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The drive where a map is largest, and where that is; a dense layer's is not pooled.

    relu is monotone: relu(pool(z)) is pool(relu(z)).
    """
    if z.ndim == 2:
        return z, None
    peak, places = F.max_pool2d(z, POOLED, return_indices=True)
    return peak, places


def _back_to(z: torch.Tensor, error: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    """An error at the peaks of ``z``, as one at ``z``."""
    if places is None:
        return error
    return F.max_unpool2d(error, places, [POOLED, POOLED], output_size=z.shape[-2:])


def _layer(
    below: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Activity of a hidden layer, pooled after a convolution."""
    if weight.ndim == 2:
        below = below.flatten(1)
    return F.relu(_peaks(drive(below, weight, bias))[0])


def _activities(images: torch.Tensor, tensors: Tensors) -> list[torch.Tensor]:
    """Activity (B, units) of each hidden layer."""
    activities = []
    h = images
    for i in range(layers_of(tensors)):
        h = _layer(h, tensors[f"weight{i}"], tensors[f"bias{i}"])
        activities.append(h.flatten(1))
    return activities


def _last_activity(images: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    return _activities(images, tensors)[-1]


def _answer(images: torch.Tensor, tensors: Tensors, predict: Prediction) -> torch.Tensor:
    activities = _activities(images, tensors)
    goodness = [h @ tensors[f"readout{i}"] for i, h in enumerate(activities)]
    return goodness[-1] if predict == "last" else torch.stack(goodness).sum(0)
