"""Mini-batch learning from labels: what all learners share that train a network of layers, by whatever rule."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal, Protocol

from pydantic import Field

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import UNLIMITED, labels_of
from harness.learning.heads import FeatureLearner, HeadName
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
from harness.registry import Config
from harness.rng import Rng

Tensors = dict[str, "torch.Tensor"]


class Rule(Protocol):
    """A learning rule at work on the tensors of one network, which it changes in place."""

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step on images x (B, C, H, W) with labels y (B,), when the share ``done`` of training is over.

        Returns:
            The loss, a scalar, and the logits (B, n_classes), both before the step and without a graph.
        """
        ...


class SupervisedConfig(Config):
    """Keys of every learner that trains in mini-batches."""

    lr: float = Field(
        1e-3, gt=0, description="learning rate; falls linearly to zero during training"
    )
    epochs: int = Field(20, ge=1, description="passes over the training set")
    batch_size: int = Field(50, ge=1, description="images in a training step")
    adapt_steps: int = Field(
        25, ge=1, description="full-batch steps on a support set, from scratch"
    )
    adapt_lr: float = Field(
        1e-3, gt=0, description="learning rate of those steps, which stays as it is"
    )
    head: HeadName = Field(
        "ridge", description="few-shot head on the last hidden layer, by class transfer"
    )


class SupervisedLearner(FeatureLearner):
    """A network whose tensors a rule changes in mini-batches.

    A subclass says what a young network is (``initial``), how it learns (``rule``), what it computes (``network``) and
    which of its tensors are synapses (``connectome``).

    Few examples: from scratch, the whole network is trained on the support set, from the same initial weights in every
    episode. By class transfer, the last hidden layer is frozen and a head is put on it.
    """

    regimes = frozenset({"from_scratch", "class_transfer"})

    config: SupervisedConfig

    def __init__(
        self, config: SupervisedConfig, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ):
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = self._young(n_classes)

    @abstractmethod
    def initial(self, n_out: int) -> Tensors:
        """The tensors of an untrained network with ``n_out`` outputs, on the CPU; the same whenever it is asked."""

    @abstractmethod
    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """What trains a network; ``adapting``: on a support set, for ``adapt_steps`` steps of ``adapt_lr``."""

    @abstractmethod
    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """Images to logits, or to the ``activity`` of the last hidden layer, as a frozen module in eval mode."""

    def _young(self, n_out: int) -> Tensors:
        return {name: tensor.to(self.device) for name, tensor in self.initial(n_out).items()}

    @property
    def frozen_features(self) -> bool:
        """Once fitted: from scratch, every episode has a network of its own."""
        return self.fitted

    def fit(
        self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent
    ) -> TrainingLog:
        """Mini-batch training; a row an epoch: mean loss and accuracy over its batches."""
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images = train.tensor(self.device)
        self.tensors, log = self._young(self.n_classes), TrainingLog()
        log.add(self)
        rule = self.rule(self.tensors, adapting=False)
        total, order = budget.cap(self.config.epochs * len(train)), self.rng.torch("order")
        while log.images_seen < total:
            rows = torch.randperm(len(train), generator=order)[: total - log.images_seen].to(
                self.device
            )
            loss, accuracy = self._epoch(rule, images, labels, rows, total, log)
            log.add(self, loss=loss, train_accuracy=accuracy)
            progress(
                log.images_seen / total, f"epoch {len(log.rows)}: train accuracy {accuracy:.3f}"
            )
        self.fitted = True
        return log

    def _epoch(
        self,
        rule: Rule,
        images: torch.Tensor,
        labels: torch.Tensor,
        rows: torch.Tensor,
        total: int,
        log: TrainingLog,
    ) -> tuple[float, float]:
        """One pass over ``rows``: its mean loss and accuracy."""
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for batch in rows.split(self.config.batch_size):
            loss, logits = rule.step(images[batch], labels[batch], log.images_seen / total)
            log.images_seen += len(batch)
            log.step(self)
            loss_sum += loss * len(batch)
            correct += (logits.argmax(1) == labels[batch]).sum()
        return float(loss_sum) / len(rows), float(correct) / len(rows)

    def classifier(self) -> nn.Module:
        """The network."""
        return self.network(self.tensors)

    def body(self) -> nn.Module:
        """The network up to the activity of its last hidden layer."""
        return self.network(self.tensors, activity=True)

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """Fitted: a head on the frozen hidden layer. Not fitted: a network trained on the support set alone."""
        if self.fitted:
            return super().adapt(support_images, support_labels, n_way)
        images, tensors = support_images.detach(), self._young(n_way)
        rule = self.rule(tensors, adapting=True)
        for step in range(self.config.adapt_steps):
            rule.step(images, support_labels, step / self.config.adapt_steps)
        return self.network(tensors)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes. From scratch they go one by one: the weights of one network stay in the cache."""
        if self.fitted:
            return super().adapt_many(support_images, support_labels, n_way)
        return Learner.adapt_many(self, support_images, support_labels, n_way)


Hidden = Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]]
"""Units of the hidden layer, or of each hidden layer."""


class PerceptronConfig(SupervisedConfig):
    """Keys of every learner whose network is a perceptron."""

    hidden: Hidden = Field(
        1000, description="units in the hidden layer, or a list with one entry a layer"
    )


class PerceptronLearner(SupervisedLearner):
    """A perceptron with tensors ``weight0`` (in, out), ``bias0`` (1, out), ``weight1`` ...; a subclass gives its ``rule``."""

    config: PerceptronConfig
    activation: Literal["relu", "tanh"] = "relu"

    @property
    def sizes(self) -> list[int]:
        """Units of each layer, pixels first, outputs left out."""
        hidden = self.config.hidden
        return [math.prod(self.image_shape), *([hidden] if isinstance(hidden, int) else hidden)]

    def initial(self, n_out: int) -> Tensors:
        """Normal weights of He's variance, biases of zero."""
        from harness.learning.nets import init_perceptron

        return named(init_perceptron([*self.sizes, n_out], self.rng.torch("initial weights")))

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The perceptron."""
        from harness.learning.nets import Perceptron

        parameters = in_turn(tensors)
        return Perceptron(
            parameters[:-2] if activity else parameters,
            activity=activity,
            activation=self.activation,
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer."""
        weights = in_turn(self.tensors)[::2]
        return [
            Synapses(name, weight)
            for name, weight in zip(bundle_names(len(weights)), weights, strict=True)
        ]


def named(parameters: list[torch.Tensor]) -> Tensors:
    """``[weight, bias, ...]`` under the names that a perceptron's state has."""
    return {f"{('weight', 'bias')[i % 2]}{i // 2}": p for i, p in enumerate(parameters)}


def in_turn(tensors: Tensors) -> list[torch.Tensor]:
    """``weight0, bias0, weight1, ...``: the parameters of a perceptron out of its state."""
    layers = sum(name.startswith("weight") for name in tensors)
    return [tensors[f"{kind}{i}"] for i in range(layers) for kind in ("weight", "bias")]


def bundle_names(layers: int) -> list[str]:
    """``input->hidden1``, ..., ``hiddenN->output``."""
    names = ["input", *(f"hidden{i + 1}" for i in range(layers - 1)), "output"]
    return [f"{a}->{b}" for a, b in zip(names[:-1], names[1:], strict=True)]


# ---------------------------------------------------------------------------------------------------- backpropagation


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
        description="share of each layer's weights that magnitude pruning leaves, exactly",
    )
    non_negative: bool = Field(False, description="weights >= 0 by clamp")
    pool: bool = Field(
        True,
        description="under non_negative: subtract each layer's mean input, as a uniform inhibitory pool "
        "does; false: biases alone inhibit, as in constrained backpropagation",
    )
    adversarial_eps: float = Field(
        0.0, ge=0, le=1, description="Linf budget of the examples trained on; 0: the images"
    )
    adversarial_steps: int = Field(
        10,
        ge=1,
        description="PGD steps that find them, of 2.5 / steps of the budget; 1: fast FGSM, "
        "one step of 1.25",
    )
    adversarial_warmup: float = Field(
        0.0, ge=0, lt=1, description="share of training in which their budget grows to its size"
    )

    @property
    def inhibited(self) -> bool:
        """Whether each layer has an inhibitory pool."""
        return self.non_negative and self.pool


class BackpropLearner(SupervisedLearner):
    """Backpropagation on the cross-entropy; a subclass gives the network."""

    tunable = (Tunable("l1", 1e-6, 1e-1), Tunable("density", 0.01, 1.0, "linear"))

    config: BackpropConfig

    @abstractmethod
    def forward(self, x: torch.Tensor, tensors: Tensors, training: bool) -> torch.Tensor:
        """Images (B, C, H, W) to logits, differentiable in both; ``training``: normalise by the batch."""

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Gradients through ``forward``."""
        from harness.learning.backprop import Backprop

        return Backprop(
            self.forward,
            tensors,
            self.config,
            self.rng.torch("adversarial start"),
            adapting=adapting,
        )

    def synapses(
        self, name: str, weight: torch.Tensor, *, presynaptic_sign: bool = True
    ) -> Synapses:
        """A bundle of weights (pre, post); where zeros are exact, they are synapses that do not exist."""
        config = self.config
        sparse = config.l1 > 0 or config.non_negative or config.density < 1
        return Synapses(
            name,
            weight,
            weight != 0 if sparse else None,
            presynaptic_sign,
            enforced=config.non_negative,
        )
