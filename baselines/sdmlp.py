"""SDMLP: a sparse distributed memory trained by gradient descent, for learning in sequence."""

from __future__ import annotations

import math

from pydantic import Field

from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.going_on import GoingOn, among_rivals
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.supervised import SupervisedConfig, SupervisedLearner, Tensors
from harness.registry import learners

CLIP_NORM = 1.0
"""Longest gradient, over all weights."""


@learners.register("sdmlp", family="memories")
class Sdmlp(GoingOn, SupervisedLearner):
    """SDMLP (Bricken et al. 2023): a sparse distributed memory, trained by gradient descent.

    The paper is "Sparse distributed memory is a continual learner", ICLR 2023 (arXiv 2303.11934).
    One hidden layer without biases. Weights are positive, and the image x and each unit's incoming
    weights have length one:

        a = relu(x W1),  I = the (k + 1)-th largest a,  h_j = relu(a_j - g_j I),  logits h W2

    Once g = 1, k units are active. The switch g_j = min(1, 2 n_j / N - 1) rises with n_j, the
    images that unit j was active for: like GABA in young neurons, inhibition first excites, so that
    every unit finds something to do before it competes. Plain SGD on the cross-entropy, because
    momentum would move silent units. While it learns, I counts as a constant, as in the published
    code; attacks see its true gradient.
    """

    typical_training_s = 60.0
    regimes = frozenset({"class_transfer"})
    """Not from scratch: a support set is too small for the units to switch."""

    class Config(SupervisedConfig):
        """Keys of ``sdmlp``."""

        hidden: int = Field(1000, ge=2, description="hidden units")
        k: int = Field(10, ge=1, description="units that stay active, once all have switched")
        switch: int = Field(
            56_000,
            ge=1,
            description="N: images for which a unit is active until it has switched; tens of "
            "passes over the training set, or units die",
        )
        lr: float = Field(0.3, gt=0, description="learning rate, which stays constant")
        epochs: int = Field(60, ge=1, description="passes over the training set")
        batch_size: int = Field(128, ge=1, description="images per training step")

    config: Config

    def initial(self, n_out: int) -> Tensors:
        """Uniform weights, half of which are zero; those into a hidden unit have length one."""
        pixels, hidden = math.prod(self.image_shape), self.config.hidden
        generator = self.rng.torch("initial weights")
        weight0 = 2 * torch.rand(pixels, hidden, generator=generator) - 1
        weight1 = 2 * torch.rand(hidden, n_out, generator=generator) - 1
        return {
            "weight0": F.normalize(weight0.clamp_(min=0), dim=0),
            "weight1": weight1.clamp_(min=0) / math.sqrt(hidden),
            "activations": torch.zeros(hidden, dtype=torch.float64),
        }

    @property
    def _shape(self) -> dict[str, int]:
        """What the network needs beside its tensors."""
        return {"k": min(self.config.k, self.config.hidden - 1), "switch": self.config.switch}

    def rule(self, tensors: Tensors, *, adapting: bool) -> SparseDescent:
        """Plain SGD under the constraints."""
        lr = self.config.adapt_lr if adapting else self.config.lr
        return SparseDescent(tensors, lr, **self._shape)

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Train in mini-batches; each epoch logs its mean loss and accuracy."""
        self.carried = {}
        return super().fit(train, budget=budget, progress=progress)

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass in mini-batches; steps are the same as in ``fit``."""
        order = self.next_call().torch("order")
        # Steps are in place, and classifiers that were returned before keep their tensors.
        self.tensors = {name: tensor.clone() for name, tensor in self.tensors.items()}
        rule = self.rule(self.tensors, adapting=False)
        rule.rivals = rivals
        log = self.one_pass(rule, part, order)
        progress(1.0, "one pass")
        return log

    def network(self, tensors: Tensors, *, activity: bool = False) -> nn.Module:
        """The network, with the present state of its switches."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(hidden_activity if activity else logits, tensors, **self._shape)

    def connectome(self) -> list[Synapses]:
        """Two layers of positive weights, kept so by a clamp."""
        layers = {"input->hidden": "weight0", "hidden->output": "weight1"}
        weights = {name: self.tensors[key] for name, key in layers.items()}
        return [Synapses(name, w, w != 0, enforced=True) for name, w in weights.items()]


def hidden_activity(
    images: torch.Tensor, tensors: Tensors, k: int, switch: int, *, learning: bool = False
) -> torch.Tensor:
    """The activity h, (B, C, H, W) to (B, hidden).

    Args:
        images: The images.
        tensors: Of the network.
        k: Units that stay active.
        switch: N.
        learning: Whether inhibition counts as a constant.
    """
    a = (F.normalize(images.flatten(1), dim=1) @ tensors["weight0"]).relu()
    inhibition = a.topk(k + 1, dim=1).values[:, -1:]
    if learning:
        inhibition = inhibition.detach()
    gain = (2 * tensors["activations"] / switch - 1).clamp(max=1).to(a.dtype)
    return (a - gain * inhibition).relu()


def logits(images: torch.Tensor, tensors: Tensors, k: int, switch: int) -> torch.Tensor:
    """The logits, (B, classes)."""
    return hidden_activity(images, tensors, k, switch) @ tensors["weight1"]


class SparseDescent:
    """The rule, training one network; see ``harness.learning.supervised.Rule``.

    Args:
        tensors: The network's, changed in place.
        lr: Learning rate.
        k: Units that stay active.
        switch: N.
    """

    def __init__(self, tensors: Tensors, lr: float, k: int, switch: int) -> None:
        self.tensors = tensors
        self.lr = lr
        self.k = k
        self.switch = switch
        self.rivals: torch.Tensor | None = None

    def step(
        self, x: torch.Tensor, y: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one step, then restore the signs and the lengths."""
        weights = [self.tensors["weight0"], self.tensors["weight1"]]
        with torch.enable_grad():
            leaves = [weight.detach().requires_grad_() for weight in weights]
            tensors = {**self.tensors, "weight0": leaves[0], "weight1": leaves[1]}
            h = hidden_activity(x, tensors, self.k, self.switch, learning=True)
            found = among_rivals(h @ leaves[1], y, self.rivals)
            loss = F.cross_entropy(found, y)
            gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            length = torch.stack([g.norm() for g in gradients]).norm()
            rate = self.lr * (CLIP_NORM / length.clamp_min(CLIP_NORM))
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(rate * gradient).clamp_(min=0)
            weights[0].copy_(F.normalize(weights[0], dim=0))
            self.tensors["activations"] += (h > 0).sum(0)
        return loss.detach(), found.detach()
