"""Forward-forward: layers that each learn to tell a true label from a false one by their own activity."""

from __future__ import annotations

import math

from pydantic import Field

from harness.errors import HarnessError
from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.supervised import (
    Hidden,
    PerceptronConfig,
    Rule,
    SupervisedLearner,
    Tensors,
    bundle_names,
    in_turn,
    named,
)
from harness.registry import learners

SHARPNESS = 10.0
"""Of the logits: goodness differs by little between labels."""

SMALLEST = 1e-4
"""Added to the length of a layer's activity, by which what the next layer reads is divided."""


@learners.register("forward-forward")
class ForwardForward(SupervisedLearner):
    """The forward-forward algorithm (Hinton 2022), supervised: a label is written into the image, and layers judge it.

    The first n_classes pixels are replaced by a one-hot label. Every ReLU layer reads the activity below at length sqrt(units)
    and has its own objective (section 2): its goodness, the mean square of its activity, is to be above a threshold theta for the
    true label and below it for a false one, sum softplus(theta - g+) + softplus(g- - theta). False labels are drawn in proportion
    to the network's own belief (section 3.3). No error crosses a layer.

    An image is classified by the label of most goodness, summed over all layers but the first where there are several.
    """

    typical_training_s = 120.0

    class Config(PerceptronConfig):
        """Switches of ``forward-forward``."""

        hidden: Hidden = Field([500, 500], description="units of each layer")
        theta: float = Field(
            2.0, gt=0, description="threshold of goodness, the mean square of a layer's activity"
        )
        epochs: int = Field(20, ge=1, description="passes over the training set")
        adapt_steps: int = Field(
            60, ge=1, description="full-batch steps on a support set, from scratch"
        )

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Normal weights of He's variance; the number of classes goes with them."""
        from harness.learning.nets import init_perceptron

        pixels, generator = math.prod(self.image_shape), self.rng.torch("initial weights")
        if n_out > pixels:
            raise HarnessError(
                f"'forward-forward' writes labels into pixels: {n_out} classes do not fit into {pixels}"
            )
        hidden = [self.config.hidden] if isinstance(self.config.hidden, int) else self.config.hidden
        return {
            **named(init_perceptron([pixels, *hidden], generator)),
            "classes": torch.tensor(n_out),
        }

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Layers that learn on their own."""
        return Goodness(tensors, self.config, self.rng.torch("false labels"), adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """Goodness of every label, or the ``activity`` of all layers that are judged, under a label of equal parts."""
        from harness.learning.nets import Function

        return Function(
            _activity if activity else _goodness,
            dict(named(in_turn(tensors))),
            classes=int(tensors["classes"]),
        )

    def connectome(self) -> list[Synapses]:
        """One bundle a layer; the last layer is no output but judges as the others do."""
        weights = in_turn(self.tensors)[::2]
        return [
            Synapses(name, weight)
            for name, weight in zip(bundle_names(len(weights) + 1), weights, strict=False)
        ]


def _layers(
    x: torch.Tensor, parameters: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What each layer reads, and its activity."""
    read, active = [], []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        read.append(x / (x.norm(dim=-1, keepdim=True) + SMALLEST) * math.sqrt(x.shape[-1]))
        x = F.relu(read[-1] @ weight + bias)
        active.append(x)
    return read, active


def _judged(active: list[torch.Tensor]) -> list[torch.Tensor]:
    return active[1:] if len(active) > 1 else active


def _labelled(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Flat images (B, n) whose first pixels are replaced by labels (..., B, classes)."""
    rest = images[:, labels.shape[-1] :]
    return torch.cat([labels, rest.expand(*labels.shape[:-1], rest.shape[1])], -1)


def _goodness(images: torch.Tensor, tensors: Tensors, classes: int) -> torch.Tensor:
    """Logits: (B, C, H, W) to (B, classes)."""
    x, eye = images.flatten(1), torch.eye(classes, device=images.device)
    every = _labelled(x, eye[:, None].expand(classes, len(x), classes)).flatten(0, 1)
    _, active = _layers(every, in_turn(tensors))
    return SHARPNESS * sum(h.square().mean(1) for h in _judged(active)).view(classes, len(x)).T


def _activity(images: torch.Tensor, tensors: Tensors, classes: int) -> torch.Tensor:
    """(B, C, H, W) to (B, units of all layers that are judged)."""
    x = images.flatten(1)
    _, active = _layers(
        _labelled(x, torch.full((len(x), classes), 1 / classes, device=x.device)), in_turn(tensors)
    )
    return torch.cat(_judged(active), 1)


class Goodness:
    """The rule at work on ``tensors``, which it changes in place."""

    def __init__(
        self,
        tensors: Tensors,
        config: ForwardForward.Config,
        generator: torch.Generator,
        *,
        adapting: bool,
    ):
        from harness.learning.optimisers import Descent

        self.parameters, self.theta, self.fades = in_turn(tensors), config.theta, not adapting
        self.classes, self.generator = int(tensors["classes"]), generator
        self.tensors = named(self.parameters)
        self.descent = Descent(
            self.parameters, optimiser="adam", lr=config.adapt_lr if adapting else config.lr
        )

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            logits = _goodness(x, self.tensors, self.classes)
            true = F.one_hot(y, self.classes).float()
            belief = torch.softmax(logits, 1) * (1 - true) + 1e-6 * (1 - true)
            false = F.one_hot(self._drawn(belief), self.classes).float()
            read, active = _layers(
                _labelled(x.flatten(1), torch.cat([true, false]).unflatten(0, (2, len(x)))).flatten(
                    0, 1
                ),
                self.parameters,
            )
            sign = torch.ones(2 * len(x), 1, device=x.device)
            sign[len(x) :] = -1
            gradients = []
            for before, h in zip(read, active, strict=True):
                wrong = torch.sigmoid(sign * (self.theta - h.square().mean(1, keepdim=True)))
                error = (
                    -sign * wrong * h * (2 / h.shape[1] / len(x))
                )  # h is 0 where the ReLU is shut
                gradients += [before.T @ error, error.sum(0, keepdim=True)]
            self.descent.step(gradients, 1 - done if self.fades else 1.0)
            return F.cross_entropy(logits, y), logits

    def _drawn(self, weights: torch.Tensor) -> torch.Tensor:
        """One column of each row (B, classes), in proportion; drawn on the CPU."""
        return torch.multinomial(weights.cpu(), 1, generator=self.generator)[:, 0].to(
            weights.device
        )
