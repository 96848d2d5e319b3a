"""Backpropagation on a perceptron: plain, sparse, pruned, non-negative, adversarial, certified."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from harness.data.base import Images
from harness.lazy import torch
from harness.learning.backprop import BackpropConfig, BackpropLearner
from harness.learning.consolidation import (
    METHODS,
    Consolidation,
    ConsolidationConfig,
    perceptron_fisher,
)
from harness.learning.fitting import labels_of
from harness.learning.perceptron import Hidden, PerceptronConfig, PerceptronLearner, in_turn, named
from harness.learning.supervised import Tensors
from harness.registry import learners


@learners.register("mlp", family="backprop")
class Mlp(BackpropLearner, PerceptronLearner):
    """Backpropagation on a ReLU perceptron: plain, sparse, pruned, non-negative or adversarial.

    - ``l1``: proximal steps (Yun, Lozano & Yang 2021); zeros are exact.
    - ``density``: gradual magnitude pruning (Zhu & Gupta 2017) to exactly that share of every
      layer's weights.
    - ``non_negative`` clamps every weight at zero after each step and subtracts each layer's mean
      input, as a uniform non-plastic inhibitory pool does; biases are free. With ``pool: false`` it
      is constrained backpropagation (Chorowski & Zurada 2015, IEEE TNNLS 26): non-negative weights,
      where only biases can inhibit. With an ``l1`` of, e.g., 1e-5 it is sparse too.
    - ``adversarial_eps``: adversarial training on PGD examples (Madry et al. 2018, eq. 2.1), or
      with ``adversarial_steps: 1`` fast FGSM from a random start (Wong, Rice & Kolter 2020,
      algorithm 3). A budget of images counts an example as one image.
    - ``consolidate``: when it goes on with the next task, what the earlier ones needed is held by
      elastic weight consolidation (Kirkpatrick et al. 2017; online: Schwarz et al. 2018), synaptic
      intelligence (Zenke et al. 2017), or learning without forgetting (Li & Hoiem 2016):
      ``harness.learning.consolidation``.
    - ``certified_eps``: certified training by interval bounds (Gowal et al. 2018): the control
      whose robust accuracy is proven by ``harness.bounds``. Budget and worst case grow over the
      first 60 % of training.
    """

    typical_training_s = 60.0

    class Config(ConsolidationConfig, BackpropConfig, PerceptronConfig):
        """Keys of ``mlp``."""

        hidden: Hidden = Field(
            400, description="units in the hidden layer, or a list with one entry per layer"
        )

    config: Config

    @property
    def inhibited(self) -> bool:
        """Whether each layer has an inhibitory pool."""
        return self.config.inhibited

    def initial(self, n_out: int) -> Tensors:
        """Normal weights with He's variance, or uniform ones of one sign with that variance."""
        from harness.learning.nets import init_perceptron

        parameters = init_perceptron(
            [*self.sizes, n_out],
            self.rng.torch("initial weights"),
            non_negative=self.config.non_negative,
        )
        return named(parameters)

    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Logits."""
        from harness.learning.nets import perceptron

        return perceptron(x.flatten(1), in_turn(tensors), inhibited=self.inhibited)

    def consolidation(self) -> Consolidation | None:
        """The method of ``consolidate``."""
        if self.config.consolidate == "none":
            return None
        method = METHODS[self.config.consolidate]
        return method(
            self.config, self.carried, partial(self.forward, training=False), self.n_classes
        )

    def settle(self, part: Images, *, rivals: torch.Tensor | None = None) -> None:
        """Protect what this part needs."""
        consolidation = self.consolidation()
        if consolidation is None:
            return
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)

        def importance() -> Tensors:
            images = part.tensor(self.device).flatten(1)
            among = None if rivals is None else rivals.to(self.device)[labels]
            parameters = in_turn(self.tensors)
            return named(perceptron_fisher(parameters, images, among, inhibited=self.inhibited))

        with torch.no_grad():
            consolidation.settle(self.tensors, importance, labels.unique())

    def worst_logits(
        self, low: torch.Tensor, high: torch.Tensor, labels: torch.Tensor, tensors: Tensors
    ) -> torch.Tensor:
        """The logits least favourable to the labels, by interval bounds."""
        from harness.learning.certified import perceptron_interval, worst_logits
        from harness.learning.nets import with_pool

        parameters = in_turn(tensors)
        if self.inhibited:
            parameters = [with_pool(parameter) for parameter in parameters]
        hidden = perceptron_interval((low.flatten(1), high.flatten(1)), parameters[:-2])
        return worst_logits(hidden, parameters[-2], parameters[-1], labels)
