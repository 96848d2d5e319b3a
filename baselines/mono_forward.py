"""Mono-Forward: every layer learns from a read-out of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.perceptron import Hidden, PerceptronConfig, PerceptronLearner, bundle_names
from harness.learning.supervised import Rule, Tensors
from harness.registry import learners

Prediction = Literal["last", "sum"]


@learners.register("mono-forward", family="local losses")
class MonoForward(PerceptronLearner):
    """Layers that each minimise the cross-entropy of their own read-out (arXiv 2501.09238).

    Hidden layer i has the activity h_i = relu(h_{i-1} W_i + b_i) and the goodness g_i = h_i M_i of
    each class. Its loss, the cross-entropy of softmax(g_i), changes W_i, b_i and M_i alone: no
    error passes from a layer to the one below. With one hidden layer this is backpropagation.
    """

    typical_training_s = 500.0

    class Config(PerceptronConfig):
        """Keys of ``mono-forward``."""

        hidden: Hidden = Field(
            [1000, 1000], description="units in the hidden layer, or a list with one entry a layer"
        )
        predict: Prediction = Field(
            "last", description="answer by the goodness of the last layer, or by the sum of all"
        )

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Weights with He's variance; read-outs of variance 1 / units; biases of zero."""
        from harness.learning.nets import he_weights

        generator = self.rng.torch("initial weights")
        tensors: Tensors = {}
        for i, (n_in, units) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            tensors[f"weight{i}"] = he_weights(n_in, units, fan_in=n_in, generator=generator)
            tensors[f"bias{i}"] = torch.zeros(1, units)
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
        count = layers_of(self.tensors)
        *hidden, last = bundle_names(count + 1)
        local = [f"hidden{i + 1}->local output" for i in range(count - 1)]
        layers = [self.synapses(name, self.tensors[f"weight{i}"]) for i, name in enumerate(hidden)]
        readouts = [
            self.synapses(name, self.tensors[f"readout{i}"])
            for i, name in enumerate([*local, last])
        ]
        return [*layers, *readouts]


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
            h = x.flatten(1)
            for i in range(layers_of(self.tensors)):
                weight, bias, readout = (
                    self.tensors[f"{part}{i}"] for part in ("weight", "bias", "readout")
                )
                below = h
                h = F.relu(below @ weight + bias)
                g = h @ readout
                error = (g.softmax(1) - F.one_hot(y, g.shape[1])) / len(y)
                by_drive = error @ readout.T * (h > 0)
                gradients += [below.T @ by_drive, by_drive.sum(0, keepdim=True), h.T @ error]
                goodness.append(g)
            self.optimiser.step(gradients, 1 - done if self.rate_falls else 1.0)
            logits = goodness[-1] if self.predict == "last" else torch.stack(goodness).sum(0)
            return F.cross_entropy(logits, y), logits


def layers_of(tensors: Tensors) -> int:
    """Number of hidden layers."""
    return sum(name.startswith("weight") for name in tensors)


def _activities(images: torch.Tensor, tensors: Tensors) -> list[torch.Tensor]:
    """Activity (B, units) of each hidden layer."""
    activities = []
    h = images.flatten(1)
    for i in range(layers_of(tensors)):
        h = F.relu(h @ tensors[f"weight{i}"] + tensors[f"bias{i}"])
        activities.append(h)
    return activities


def _last_activity(images: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    return _activities(images, tensors)[-1]


def _answer(images: torch.Tensor, tensors: Tensors, predict: Prediction) -> torch.Tensor:
    activities = _activities(images, tensors)
    goodness = [h @ tensors[f"readout{i}"] for i, h in enumerate(activities)]
    return goodness[-1] if predict == "last" else torch.stack(goodness).sum(0)
