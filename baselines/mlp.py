"""Backpropagation on a perceptron: plain, sparse, pruned, under Dale's law, or adversarially trained."""

from __future__ import annotations

from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import (
    BackpropConfig,
    BackpropLearner,
    Hidden,
    PerceptronLearner,
    Tensors,
    bundle_names,
    in_turn,
    named,
)
from harness.registry import learners


@learners.register("mlp")
class Mlp(BackpropLearner, PerceptronLearner):
    """Backpropagation on a ReLU perceptron: plain, L1-sparse, magnitude-pruned, non-negative, or adversarially trained.

    - ``l1``: proximal steps (Yun, Lozano & Yang 2021); zeros are exact.
    - ``density``: gradual magnitude pruning (Zhu & Gupta 2017) to exactly that share of every layer's weights.
    - ``non_negative`` clamps every weight at zero after each step and subtracts each layer's mean input, as a uniform
      non-plastic inhibitory pool does; biases are free. With ``pool: false`` it is constrained backpropagation
      (Chorowski & Zurada 2015, IEEE TNNLS 26): non-negative weights, where only biases can inhibit; with an ``l1`` of
      1e-5, say, it is sparse too.
    - ``adversarial_eps``: adversarial training on PGD examples (Madry et al. 2018, eq. 2.1), or with
      ``adversarial_steps: 1`` fast FGSM from a random start (Wong, Rice & Kolter 2020, algorithm 3). A budget of images
      counts an example as one image.
    """

    class Config(BackpropConfig):
        """Switches of ``mlp``."""

        hidden: Hidden = Field(
            400, description="units in the hidden layer, or a list with one entry a layer"
        )

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Normal weights of He's variance, or uniform ones of one sign with the same variance."""
        from harness.learning.nets import init_perceptron

        return named(
            init_perceptron(
                [*self.sizes, n_out],
                self.rng.torch("initial weights"),
                non_negative=self.config.non_negative,
            )
        )

    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Logits."""
        from harness.learning.nets import perceptron

        return perceptron(x.flatten(1), in_turn(tensors), inhibited=self.config.inhibited)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The perceptron, with its inhibition where it has one."""
        from harness.learning.nets import Perceptron

        parameters = in_turn(tensors)
        return Perceptron(
            parameters[:-2] if activity else parameters,
            inhibited=self.config.inhibited,
            activity=activity,
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; where zeros are exact, they are synapses that do not exist."""
        weights = in_turn(self.tensors)[::2]
        return [
            self.synapses(name, weight)
            for name, weight in zip(bundle_names(len(weights)), weights, strict=True)
        ]
