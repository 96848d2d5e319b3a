"""Backpropagation on a convolutional network: LeNet or Conv4, in all variants of ``mlp``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.backprop import BackpropConfig, BackpropLearner
from harness.learning.learner import Synapses
from harness.learning.supervised import Tensors
from harness.registry import learners

FILTERS = {"lenet": 32, "conv4": 64}


@learners.register("cnn")
class Cnn(BackpropLearner):
    """Backpropagation on a LeNet or Conv4: plain, sparse, pruned, non-negative or adversarial.

    - ``lenet``: two blocks of 5 x 5 filters, ReLU and 2 x 2 max pooling, then a dense layer. With
      32 and 64 filters and 1,024 units it is the network that Madry et al. (2018) train on MNIST.
      LeCun et al. (1998) had 6, 16 and 120.
    - ``conv4``: four blocks of 3 x 3 filters with batch normalisation (Vinyals et al. 2016), and no
      dense layer. Statistics are those of the batch in training and running ones otherwise, i.e.
      inductive.

    The other keys are those of ``mlp``, which names their sources. With ``non_negative``, all
    filters are, and a layer's pool inhibits each place equally; scales of a normalisation are free.
    """

    typical_training_s = 200.0

    class Config(BackpropConfig):
        """Keys of ``cnn``."""

        body: Literal["lenet", "conv4"] = Field("lenet", description="which network")
        filters: int | None = Field(
            None,
            ge=1,
            description="filters of the first block; null: 32 for lenet, 64 for conv4. The "
            "second block of lenet has twice as many; all blocks of conv4 have the same",
        )
        units: int = Field(1024, ge=1, description="units of the dense layer of lenet")
        epochs: int = Field(10, ge=1, description="passes over the training set")

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with He's variance, or uniform ones of one sign with that variance."""
        from harness.learning.convnets import init_convnet

        config = self.config
        is_lenet = config.body == "lenet"
        filters = config.filters or FILTERS[config.body]
        return init_convnet(
            self.image_shape,
            filters=[filters, 2 * filters] if is_lenet else [filters] * 4,
            kernel=5 if is_lenet else 3,
            dense=[config.units, n_out] if is_lenet else [n_out],
            generator=self.rng.torch("initial weights"),
            normed=not is_lenet,
            non_negative=config.non_negative,
        )

    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Logits."""
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
        """The network, with pools and normalisation folded into its weights."""
        from harness.learning.convnets import convnet, folded
        from harness.learning.nets import FrozenFunction

        plain = folded(tensors, inhibited=self.config.inhibited)
        return FrozenFunction(convnet, plain, activity=activity)

    def connectome(self) -> list[Synapses]:
        """One bundle per layer.

        A convolution's weights are (inputs of one position, filters), shared by all positions.
        """
        from harness.learning.convnets import n_layers

        layers = range(n_layers(self.tensors))
        return [self._bundle(i, self.tensors[f"weight{i}"]) for i in layers]

    def _bundle(self, i: int, weight: torch.Tensor) -> Synapses:
        if weight.ndim == 4:
            return self.synapses(f"conv{i + 1}", weight.flatten(1).T, presynaptic_sign=False)
        return self.synapses(f"dense{i + 1}", weight)
