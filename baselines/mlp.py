"""Backpropagation: a ReLU perceptron, plain, L1-sparse, or with non-negative weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from harness.data.base import Images
from harness.fitting import UNLIMITED, labels_of
from harness.heads import FeatureLearner, HeadName
from harness.lazy import F, nn, torch
from harness.learner import Budget, EpisodeClassifier, Learner, Progress, Synapses, TrainingLog, silent
from harness.registry import Config, learners
from harness.rng import Rng


@learners.register("mlp")
class Mlp(FeatureLearner):
    """Backpropagation on a ReLU perceptron: plain, L1-sparse (`l1`), or with weights of one sign (`non_negative`).

    ``non_negative`` clamps every weight at zero after each step and subtracts each layer's mean input, as a uniform
    non-plastic inhibitory pool does; biases are free. It is the reference for Dale's law per neuron where the law is
    enforced, as in constrained backpropagation (Chorowski & Zurada 2015).

    Few examples: from scratch, the whole network is trained on the support set, from the same initial weights in every
    episode. By class transfer, the last hidden layer is frozen and a head is put on it.
    """

    regimes = frozenset({"from_scratch", "class_transfer"})

    class Config(Config):
        """Switches of ``mlp``."""

        hidden: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] = Field(
            400, description="units in the hidden layer, or a list with one entry a layer")
        optimiser: Literal["adam", "sgd"] = Field("adam", description="Adam, or SGD with momentum 0.9")
        lr: float = Field(1e-3, gt=0, description="learning rate; falls linearly to zero during training")
        epochs: int = Field(20, ge=1, description="passes over the training set")
        batch_size: int = Field(50, ge=1, description="images in a training step")
        l1: float = Field(0.0, ge=0, description="penalty on sum |w|, applied as a proximal step: zeros are exact")
        weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
        non_negative: bool = Field(False, description="weights >= 0 by clamp, with uniform inhibition in each layer")
        adapt_steps: int = Field(25, ge=1, description="full-batch steps on a support set, from scratch")
        adapt_lr: float = Field(1e-3, gt=0, description="learning rate of those steps")
        head: HeadName = Field("ridge", description="few-shot head on the last hidden layer, by class transfer")

    config: Config

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = _named(self._initial(n_classes))

    @property
    def frozen_features(self) -> bool:
        """Once fitted: from scratch, every episode has a network of its own."""
        return self.fitted

    def fit(self, train: Images, *, budget: Budget = UNLIMITED, progress: Progress = silent) -> TrainingLog:
        """Mini-batch training on the cross-entropy; a row an epoch: mean loss and accuracy over its batches."""
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images = train.tensor(self.device).flatten(1)
        parameters = self._initial(self.n_classes)
        self.tensors, log = _named(parameters), TrainingLog()
        log.add(self)
        descent = self._descent(parameters, self.config.lr)
        total, order = budget.cap(self.config.epochs * len(train)), self.rng.torch("order")
        while log.images_seen < total:
            rows = torch.randperm(len(train), generator=order)[: total - log.images_seen].to(self.device)
            done = log.images_seen / total, (log.images_seen + len(rows)) / total
            loss, accuracy = self._epoch(descent, images, labels, rows, done, log)
            log.add(self, loss=loss, train_accuracy=accuracy)
            progress(done[1], f"epoch {len(log.rows)}: train accuracy {accuracy:.3f}")
        self.fitted = True
        return log

    def _epoch(self, descent, images: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor,
               done: tuple[float, float], log: TrainingLog) -> tuple[float, float]:
        """One pass over ``rows``; ``done`` is the share of training behind it, before and after."""
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for start in range(0, len(rows), self.config.batch_size):
            batch = rows[start : start + self.config.batch_size]
            rate = 1 - done[0] - (done[1] - done[0]) * start / len(rows)
            loss, logits = self._step(descent, images[batch], labels[batch], rate)
            log.images_seen += len(batch)
            log.step(self)
            loss_sum += loss * len(batch)
            correct += (logits.argmax(1) == labels[batch]).sum()
        return float(loss_sum) / len(rows), float(correct) / len(rows)

    def _descent(self, parameters: list[torch.Tensor], lr: float):
        from harness.optimisers import Descent

        config = self.config
        return Descent(parameters, optimiser=config.optimiser, lr=lr, l1=config.l1, weight_decay=config.weight_decay,
                       non_negative=config.non_negative)

    def _step(self, descent, x: torch.Tensor, y: torch.Tensor, rate: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """One step on the mean cross-entropy; x (B, D), y (B,); returns the loss and the logits before it."""
        from harness.nets import perceptron

        with torch.enable_grad():
            leaves = [p.detach().requires_grad_() for p in descent.parameters]
            logits = perceptron(x, leaves, inhibited=self.config.non_negative)
            loss = F.cross_entropy(logits, y)
            gradients = torch.autograd.grad(loss, leaves)
        descent.step(gradients, rate)
        return loss.detach(), logits.detach()

    def _initial(self, n_out: int) -> list[torch.Tensor]:
        from harness.nets import init_perceptron

        hidden = [self.config.hidden] if isinstance(self.config.hidden, int) else self.config.hidden
        sizes = [math.prod(self.image_shape), *hidden, n_out]
        parameters = init_perceptron(sizes, self.rng.torch("initial weights"), non_negative=self.config.non_negative)
        return [p.to(self.device) for p in parameters]

    def classifier(self) -> nn.Module:
        """The network."""
        from harness.nets import Perceptron

        return Perceptron(_in_turn(self.tensors), inhibited=self.config.non_negative)

    def body(self) -> nn.Module:
        """The network up to the activity of its last hidden layer."""
        from harness.nets import Perceptron

        return Perceptron(_in_turn(self.tensors)[:-2], inhibited=self.config.non_negative, activity=True)

    def adapt(self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> nn.Module:
        """Fitted: a head on the frozen hidden layer. Not fitted: a network trained on the support set alone."""
        if self.fitted:
            return super().adapt(support_images, support_labels, n_way)
        return self._from_scratch(support_images, support_labels, n_way)

    def adapt_many(self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int) -> EpisodeClassifier:
        """``adapt`` over E episodes. From scratch they go one by one: the weights of one network stay in the cache."""
        if self.fitted:
            return super().adapt_many(support_images, support_labels, n_way)
        return Learner.adapt_many(self, support_images, support_labels, n_way)

    def _from_scratch(self, images: torch.Tensor, labels: torch.Tensor, n_way: int) -> nn.Module:
        from harness.nets import Perceptron

        x, parameters = images.detach().flatten(1), self._initial(n_way)
        descent = self._descent(parameters, self.config.adapt_lr)
        for _ in range(self.config.adapt_steps):
            self._step(descent, x, labels)
        return Perceptron(parameters, inhibited=self.config.non_negative)

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; where zeros are exact, they are synapses that do not exist."""
        weights = _in_turn(self.tensors)[::2]
        names = ["input", *(f"hidden{i + 1}" for i in range(len(weights) - 1)), "output"]
        sparse = self.config.l1 > 0 or self.config.non_negative
        return [Synapses(f"{names[i]}->{names[i + 1]}", w, w != 0 if sparse else None, enforced=self.config.non_negative)
                for i, w in enumerate(weights)]


def _named(parameters: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{('weight', 'bias')[i % 2]}{i // 2}": p for i, p in enumerate(parameters)}


def _in_turn(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensors[f"{kind}{i}"] for i in range(len(tensors) // 2) for kind in ("weight", "bias")]
