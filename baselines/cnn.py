"""Backpropagation on a convolutional network: LeNet or Conv4, in every form that the perceptron has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import BackpropConfig, BackpropLearner, Tensors
from harness.registry import learners

FILTERS = {"lenet": 32, "conv4": 64}


@learners.register("cnn")
class Cnn(BackpropLearner):
    """Backpropagation on a LeNet or a Conv4: plain, L1-sparse, magnitude-pruned, non-negative, or adversarially trained.

    - ``lenet``: two blocks of 5 x 5 filters, ReLU and 2 x 2 max pooling, and a dense layer; with 32 and 64 filters and 1,024
      units it is the network that Madry et al. (2018) train on MNIST. LeCun et al. (1998) had 6, 16 and 120.
    - ``conv4``: four blocks of 3 x 3 filters with batch normalisation (Vinyals et al. 2016), and no dense layer. Statistics are
      the batch's in training and running ones otherwise: inductive.

    The switches are those of ``mlp``, where their sources are named. Under ``non_negative`` every unit's filter is, and a
    layer's pool inhibits at each place alike; scales of a normalisation are free.
    """

    typical_training_s = 200.0

    class Config(BackpropConfig):
        """Switches of ``cnn``."""

        body: Literal["lenet", "conv4"] = Field("lenet", description="which network")
        filters: int | None = Field(
            None,
            ge=1,
            description="of the first block; null: 32 for lenet, 64 for conv4. The "
            "second block of lenet has twice as many, all of conv4 the same",
        )
        units: int = Field(1024, ge=1, description="of the dense layer of lenet")
        epochs: int = Field(10, ge=1, description="passes over the training set")

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Normal weights of He's variance, or uniform ones of one sign with the same variance."""
        from harness.learning.convnets import init_convnet

        config, lenet = self.config, self.config.body == "lenet"
        filters = config.filters or FILTERS[config.body]
        return init_convnet(
            self.image_shape,
            [filters, 2 * filters] if lenet else [filters] * 4,
            5 if lenet else 3,
            [config.units, n_out] if lenet else [n_out],
            self.rng.torch("initial weights"),
            normed=not lenet,
            non_negative=config.non_negative,
        )

    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Logits."""
        from harness.learning.convnets import convnet

        return convnet(x, tensors, inhibited=self.config.inhibited, training=training)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The network, its normalisation folded."""
        from harness.learning.convnets import convnet, folded
        from harness.learning.nets import Function

        return Function(
            convnet, folded(tensors, inhibited=self.config.inhibited), activity=activity
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; a convolution's weights are (inputs of one position, filters), shared by all positions."""
        weights = [
            self.tensors[f"weight{i}"]
            for i in range(len(self.tensors))
            if f"weight{i}" in self.tensors
        ]
        return [self._bundle(i, weight) for i, weight in enumerate(weights)]

    def _bundle(self, i: int, weight: torch.Tensor) -> Synapses:
        if weight.ndim == 4:
            return self.synapses(f"conv{i + 1}", weight.flatten(1).T, presynaptic_sign=False)
        return self.synapses(f"dense{i + 1}", weight)
