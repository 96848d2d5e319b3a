"""Forward-forward: each layer learns to distinguish true from false labels by its own activity."""

from __future__ import annotations

import math

from pydantic import Field

from harness.errors import HarnessError
from harness.lazy import F, nn, torch
from harness.learning.learner import Synapses
from harness.learning.optimisers import ProximalOptimiser
from harness.learning.perceptron import (
    Hidden,
    PerceptronConfig,
    bundle_names,
    in_turn,
    layer_sizes,
    named,
)
from harness.learning.supervised import Rule, SupervisedLearner, Tensors
from harness.registry import learners

SHARPNESS = 10.0
"""Factor on the goodness in the logits: it differs little between labels."""

SMALLEST = 1e-4
"""Added to the length of a layer's activity before the next layer's input is divided by it."""


@learners.register("forward-forward", family="local losses")
class ForwardForward(SupervisedLearner):
    """The supervised forward-forward algorithm (Hinton 2022): layers judge a label in the image.

    The first n_classes pixels are replaced by a one-hot label. Every ReLU layer reads the activity
    below it, scaled to length sqrt(units), and has its own objective (section 2): its goodness g,
    the mean square of its activity, should be above a threshold theta for the true label and below
    it for a false one, with the loss

        softplus(theta - g+) + softplus(g- - theta).

    False labels are drawn in proportion to the network's own belief (section 3.3). No error crosses
    a layer.

    An image is classified by the label with the most goodness, summed over all layers but the
    first (if there are several).
    """

    typical_training_s = 570.0

    class Config(PerceptronConfig):
        """Keys of ``forward-forward``."""

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
        """Normal weights with He's variance; the state also holds the number of classes."""
        from harness.learning.nets import init_perceptron

        pixels = math.prod(self.image_shape)
        if n_out > pixels:
            raise HarnessError(
                f"'forward-forward' writes labels into pixels: {n_out} classes do not fit into "
                f"{pixels}"
            )
        sizes = [pixels, *layer_sizes(self.config.hidden)]
        tensors = named(init_perceptron(sizes, self.rng.torch("initial weights")))
        tensors["classes"] = torch.tensor(n_out)
        return tensors

    def rule(self, tensors: Tensors, *, adapting: bool) -> Rule:
        """Layers that learn on their own."""
        return Goodness(tensors, self.config, self.rng.torch("false labels"), adapting=adapting)

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """Goodness of every label, or the ``activity`` of all layers that are judged.

        The activity is that under a label of equal parts.
        """
        from harness.learning.nets import FrozenFunction

        function = judged_activity if activity else label_logits
        weights = named(in_turn(tensors))
        return FrozenFunction(function, weights, classes=int(tensors["classes"]))

    def connectome(self) -> list[Synapses]:
        """One bundle per layer; the last one is judged like the others and is no output."""
        weights = in_turn(self.tensors)[::2]
        names = bundle_names(len(weights) + 1)[:-1]
        return [Synapses(name, weight) for name, weight in zip(names, weights, strict=True)]


def run(
    x: torch.Tensor, parameters: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The input of each layer, and its activity."""
    inputs = []
    activities = []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        unit = x / (x.norm(dim=-1, keepdim=True) + SMALLEST)
        inputs.append(unit * math.sqrt(x.shape[-1]))
        x = F.relu(inputs[-1] @ weight + bias)
        activities.append(x)
    return inputs, activities


def _judged(activities: list[torch.Tensor]) -> list[torch.Tensor]:
    """Activities of the layers that an image is classified by."""
    return activities[1:] if len(activities) > 1 else activities


def with_label(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Flat images (B, n) whose first pixels are replaced by labels (..., B, classes)."""
    rest = images[:, labels.shape[-1] :]
    return torch.cat([labels, rest.expand(*labels.shape[:-1], rest.shape[1])], -1)


def label_logits(images: torch.Tensor, tensors: Tensors, classes: int) -> torch.Tensor:
    """Goodness of every label: images (B, C, H, W) to logits (B, classes)."""
    x = images.flatten(1)
    one_hot = torch.eye(classes, device=images.device)
    labels = one_hot[:, None].expand(classes, len(x), classes)
    _, activities = run(with_label(x, labels).flatten(0, 1), in_turn(tensors))
    goodness = torch.zeros(len(x) * classes, device=images.device)
    for h in _judged(activities):
        goodness = goodness + h.square().mean(1)
    return SHARPNESS * goodness.view(classes, len(x)).T


def judged_activity(images: torch.Tensor, tensors: Tensors, classes: int) -> torch.Tensor:
    """Activity of all layers that are judged: images (B, C, H, W) to (B, units)."""
    x = images.flatten(1)
    label = torch.full((len(x), classes), 1 / classes, device=x.device)
    _, activities = run(with_label(x, label), in_turn(tensors))
    return torch.cat(_judged(activities), 1)


class Goodness:
    """The rule, training one network.

    Args:
        tensors: The network's, changed in place.
        config: Config of the learner.
        generator: Draws the false labels.
        adapting: Take constant steps of ``adapt_lr`` instead of a rate that falls.
    """

    def __init__(
        self,
        tensors: Tensors,
        config: ForwardForward.Config,
        generator: torch.Generator,
        *,
        adapting: bool,
    ) -> None:
        self.parameters = in_turn(tensors)
        self.tensors = named(self.parameters)
        self.classes = int(tensors["classes"])
        self.theta = config.theta
        self.generator = generator
        self.rate_falls = not adapting
        lr = config.adapt_lr if adapting else config.lr
        self.optimiser = ProximalOptimiser(self.parameters, optimiser="adam", lr=lr)

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one training step; see ``harness.learning.supervised.Rule``."""
        with torch.no_grad():
            logits = label_logits(x, self.tensors, self.classes)
            true = F.one_hot(y, self.classes).float()
            false = F.one_hot(self._false_labels(logits, true), self.classes).float()
            labels = torch.cat([true, false]).unflatten(0, (2, len(x)))
            both = with_label(x.flatten(1), labels).flatten(0, 1)
            gradients = self._gradients(both, len(x))
            self.optimiser.step(gradients, 1 - done if self.rate_falls else 1.0)
            return F.cross_entropy(logits, y), logits

    def _false_labels(self, logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        """Labels (B,) other than the true ones, in proportion to the network's belief."""
        is_false = 1 - true
        belief = torch.softmax(logits, 1) * is_false + 1e-6 * is_false
        return self.draw(belief)

    def draw(self, weights: torch.Tensor) -> torch.Tensor:
        """One column of each row (B, classes), in proportion to its weight; drawn on the CPU."""
        columns = torch.multinomial(weights.cpu(), 1, generator=self.generator)[:, 0]
        return columns.to(weights.device)

    def _gradients(self, both: torch.Tensor, batch: int) -> list[torch.Tensor]:
        """Gradients of each layer's own loss, the mean of softplus(s (theta - g)).

        Args:
            both: Images with true labels (s = 1), then with false ones (s = -1), (2 B, n).
            batch: B.
        """
        inputs, activities = run(both, self.parameters)
        sign = torch.ones(2 * batch, 1, device=both.device)
        sign[batch:] = -1
        gradients = []
        for x, h in zip(inputs, activities, strict=True):
            goodness = h.square().mean(1, keepdim=True)
            wrong = torch.sigmoid(sign * (self.theta - goodness))
            # dg / dh = 2 h / units; h is 0 where the ReLU is closed, as is its gradient.
            error = -sign * wrong * h * (2 / h.shape[1] / batch)
            gradients.append(x.T @ error)
            gradients.append(error.sum(0, keepdim=True))
        return gradients
