"""Backpropagation by autograd: with L1, pruning, one sign, adversarial or certified training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from harness.budgets import Budget
from harness.data.base import Images
from harness.lazy import F, torch
from harness.learning import learner as contract
from harness.learning.adversarial import pgd_examples
from harness.learning.consolidation import Consolidation
from harness.learning.going_on import (
    GoingOn,
    among_rivals,
    optimiser_state,
    restore_optimiser,
)
from harness.learning.learner import Progress, Synapses, TrainingLog, Tunable, silent
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.supervised import SupervisedConfig, SupervisedLearner, Tensors

Forward = Callable[["torch.Tensor", Tensors, bool], "torch.Tensor"]
"""Images, tensors, and whether it is training, to logits."""

WorstLogits = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor", Tensors], "torch.Tensor"]
"""Smallest and largest images, labels, and tensors, to the logits least favourable to the labels.

Logits are up to a constant for each image.
"""

CERTIFIED_GROWS = 0.6
"""Share of training over which the budget of certified training grows to its size."""

CERTIFIED_WEIGHT = 0.5
"""Weight of the worst case in the loss of certified training, once the budget has its size."""

PRUNING_BEGINS = 0.1
PRUNING_ENDS = 0.7
"""Shares of training between which weights are pruned."""

PRUNINGS = 60
"""How often weights are pruned in that time."""


class BackpropConfig(SupervisedConfig):
    """Keys of backpropagation, whatever the network."""

    optimiser: Literal["adam", "sgd"] = Field("adam", description="Adam, or SGD with momentum 0.9")
    l1: float = Field(
        0.0, ge=0, description="penalty on sum |w|, applied as a proximal step: zeros are exact"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    density: float = Field(
        1.0,
        gt=0,
        le=1,
        description="exact share of each layer's weights that magnitude pruning keeps",
    )
    non_negative: bool = Field(False, description="weights are clamped to be >= 0")
    pool: bool = Field(
        True,
        description="with non_negative: subtract each layer's mean input, as a uniform inhibitory "
        "pool does; false: only biases inhibit, as in constrained backpropagation",
    )
    adversarial_eps: Budget = Field(
        0.0, ge=0, le=1, description="Linf budget of adversarial training; 0: train on the images"
    )
    adversarial_steps: int = Field(
        10,
        ge=1,
        description="PGD steps, each 2.5 / steps of the budget; 1: fast FGSM, "
        "one step of 1.25 times the budget",
    )
    adversarial_warmup: float = Field(
        0.0, ge=0, lt=1, description="share of training over which that budget grows to its size"
    )
    certified_eps: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Linf budget of certified training by interval bounds; 0: without",
    )

    @property
    def inhibited(self) -> bool:
        """Whether each layer has an inhibitory pool."""
        return self.non_negative and self.pool


class BackpropLearner(GoingOn, SupervisedLearner):
    """Backpropagation on the cross-entropy; a subclass defines the network.

    ``go_on`` takes constant steps of ``lr`` and carries the optimiser's moments. What grows or is
    pruned over a share of training has its final size from the first step.
    """

    tunable = (Tunable("l1", 1e-6, 1e-1), Tunable("density", 0.01, 1.0, "linear"))

    config: BackpropConfig

    @abstractmethod
    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Logits, differentiable in the images and the tensors.

        Args:
            x: Images (B, C, H, W).
            tensors: The network's.
            training: Whether to normalise by the batch.
        """

    @abstractmethod
    def worst_logits(
        self, low: torch.Tensor, high: torch.Tensor, labels: torch.Tensor, tensors: Tensors
    ) -> torch.Tensor:
        """The logits least favourable to the labels, by interval bounds.

        Args:
            low: Smallest images (B, C, H, W).
            high: Largest images.
            labels: int64 (B,).
            tensors: The network's; normalisation is by running statistics.

        Returns:
            (B, n_classes), up to a constant for each image, differentiable in the tensors.
        """

    def rule(self, tensors: Tensors, *, adapting: bool) -> Backprop:
        """Gradients through ``forward``."""
        return Backprop(
            self.forward,
            tensors,
            self.config,
            self.rng.torch("adversarial start"),
            adapting=adapting,
            worst_logits=self.worst_logits,
        )

    def fit(
        self,
        train: Images,
        *,
        budget: contract.Budget = contract.NO_LIMIT,
        progress: Progress = silent,
    ) -> TrainingLog:
        """Train in mini-batches; each epoch logs its mean loss and accuracy."""
        self.carried = {}
        return super().fit(train, budget=budget, progress=progress)

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass in mini-batches, with the moments of the calls before."""
        rng = self.next_call()
        # Steps are in place, and classifiers that were returned before keep their tensors.
        self.tensors = {name: tensor.clone() for name, tensor in self.tensors.items()}
        rule = self.rule(self.tensors, adapting=False)
        rule.go_on(self.carried, rivals, rng.torch("adversarial start"))
        rule.consolidation = self.consolidation()
        log = self.one_pass(rule, part, rng.torch("order"))
        self.carried |= rule.carried()
        progress(1.0, "one pass")
        return log

    def consolidation(self) -> Consolidation | None:
        """How it protects earlier parts while it goes on; None: not at all."""
        return None

    def synapses(
        self, name: str, weight: torch.Tensor, *, presynaptic_sign: bool = True
    ) -> Synapses:
        """The bundle of a layer's weights (pre, post).

        If the configuration makes exact zeros, these are synapses that do not exist.
        """
        config = self.config
        has_exact_zeros = config.l1 > 0 or config.non_negative or config.density < 1
        mask = weight != 0 if has_exact_zeros else None
        return Synapses(name, weight, mask, presynaptic_sign, enforced=config.non_negative)


class Backprop:
    """Descent on the mean cross-entropy of a network, on images or on adversarial examples.

    With ``certified_eps``, part of the loss is the cross-entropy of the worst logits within a
    budget, by interval bounds (Gowal et al. 2018, arXiv 1810.12715, eq. 12). The budget and that
    part grow linearly, and then stay.

    Args:
        forward: The network.
        tensors: Its tensors; those named ``weight``, ``bias`` and ``scale`` are trained.
        config: Config of the learner.
        generator: Draws the random starts of adversarial examples.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
        worst_logits: The network's worst logits; needed with ``certified_eps``.
    """

    def __init__(
        self,
        forward: Forward,
        tensors: Tensors,
        config: BackpropConfig,
        generator: torch.Generator,
        *,
        adapting: bool,
        worst_logits: WorstLogits | None = None,
    ) -> None:
        self.forward = forward
        self.tensors = tensors
        self.config = config
        self.generator = generator
        self.worst_logits = worst_logits
        self.rate_falls = not adapting
        self.is_steady = False
        self.rivals: torch.Tensor | None = None
        self.consolidation: Consolidation | None = None
        self.prunings = 0
        self.leaves = {
            name: value.detach().requires_grad_()
            for name, value in tensors.items()
            if name.startswith(("weight", "bias", "scale"))
        }
        self.optimiser = ProximalOptimiser(
            [leaf.detach() for leaf in self.leaves.values()],
            optimiser=config.optimiser,
            lr=config.adapt_lr if adapting else config.lr,
            l1=config.l1,
            weight_decay=config.weight_decay,
            non_negative=config.non_negative,
            weights=[name.startswith("weight") for name in self.leaves],
        )

    def go_on(
        self, carried: Tensors, rivals: torch.Tensor | None, generator: torch.Generator
    ) -> None:
        """Take steady steps from here on: their size knows no end of training.

        Args:
            carried: Of the learner; empty at the start.
            rivals: See ``Learner.go_on``.
            generator: Draws the random starts of adversarial examples.
        """
        self.is_steady = True
        self.rate_falls = False
        self.rivals = rivals
        self.generator = generator
        restore_optimiser(self.optimiser, list(self.leaves), carried)

    def carried(self) -> Tensors:
        """What a later rule needs to go on."""
        return optimiser_state(self.optimiser, list(self.leaves))

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        if self.is_steady:
            done = 1.0
        self._prune(done)
        if self.config.adversarial_eps:
            x = self._attacked(x, y, done)
        with torch.enable_grad():
            tensors = {**self.tensors, **self.leaves}
            among_all = self.forward(x, tensors, True)
            logits = among_rivals(among_all, y, self.rivals)
            loss = F.cross_entropy(logits, y)
            if self.config.certified_eps:
                loss = self._with_worst_case(loss, x, y, tensors, done)
            if self.consolidation is not None:
                loss = self.consolidation.loss(loss, among_all, x)
            gradients = torch.autograd.grad(loss, list(self.leaves.values()))
        self._move(gradients, 1 - done if self.rate_falls else 1.0)
        return loss.detach(), logits.detach()

    def _move(self, gradients: Sequence[torch.Tensor], rate: float) -> None:
        """Take a step of the optimiser, pulled back to what earlier tasks need."""
        if self.consolidation is None:
            self.optimiser.step(gradients, rate)
            return
        weights = dict(zip(self.leaves, self.optimiser.parameters, strict=True))
        before = {name: weight.clone() for name, weight in weights.items()}
        pulled = [
            gradient + self.consolidation.pull(name, before[name])
            for name, gradient in zip(weights, gradients, strict=True)
        ]
        self.optimiser.step(pulled, rate)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            self.consolidation.moved(name, gradient, weight - before[name])

    def _with_worst_case(
        self, loss: torch.Tensor, x: torch.Tensor, y: torch.Tensor, tensors: Tensors, done: float
    ) -> torch.Tensor:
        """The loss of certified training: a mean of ``loss`` and that of the worst logits."""
        assert self.worst_logits is not None
        grown = min(1.0, done / CERTIFIED_GROWS)
        eps = grown * self.config.certified_eps
        low = (x - eps).clamp(min=0)
        high = (x + eps).clamp(max=1)
        worst_logits = among_rivals(self.worst_logits(low, high, y, tensors), y, self.rivals)
        worst = F.cross_entropy(worst_logits, y)
        share = grown * CERTIFIED_WEIGHT
        return (1 - share) * loss + share * worst

    def _prune(self, done: float) -> None:
        """Gradual magnitude pruning (Zhu & Gupta 2017, eq. 1).

        The density is d + (1 - d) (1 - t)^3 as t goes from 0 to 1 between ``PRUNING_BEGINS`` and
        ``PRUNING_ENDS``.
        """
        target = self.config.density  # d
        if target == 1:
            return
        elapsed = min(1.0, (done - PRUNING_BEGINS) / (PRUNING_ENDS - PRUNING_BEGINS))
        if elapsed * PRUNINGS >= self.prunings + 1:
            self.prunings = int(elapsed * PRUNINGS)
            t = self.prunings / PRUNINGS
            self.optimiser.prune(target + (1 - target) * (1 - t) ** 3)

    def _attacked(self, x: torch.Tensor, y: torch.Tensor, done: float) -> torch.Tensor:
        """Adversarial examples of images x, by PGD from a random start.

        The network is attacked as it will be measured, with running statistics.
        """
        config = self.config
        warmed_up = min(1.0, (done + 1e-3) / max(config.adversarial_warmup, 1e-3))
        eps = config.adversarial_eps * warmed_up

        def classify(point: torch.Tensor) -> torch.Tensor:
            return among_rivals(self.forward(point, self.tensors, False), y, self.rivals)

        steps = config.adversarial_steps
        return pgd_examples(classify, x, y, eps=eps, steps=steps, generator=self.generator)
