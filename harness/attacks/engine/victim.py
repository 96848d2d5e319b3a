"""The network under attack, seen as two functions of images: logits and input gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from harness.attacks.engine.memory_layout import rows_per_pass
from harness.attacks.engine.random_state import isolated_random_state
from harness.batching import in_batches, padded
from harness.lazy import nn, torch
from harness.rng import Rng, derive

LossFunction = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]
"""Logits (B, n), labels (B,), targets (B,) or None, to one loss a row (B,), to be climbed."""

Network = Callable[["torch.Tensor"], "torch.Tensor"]
"""Images (B, C, H, W) in [0, 1] to logits (B, n_classes); a module, for a victim that is swept."""

Backward = Literal["exact", "straight-through"]

ROUNDING = 1e-5
"""Share of the largest logit by which repeated passes may differ through rounding alone."""

STOCHASTIC_BATCH = 256
"""Rows a pass of a network that draws: fixed, because what it draws depends on the number."""

Passed = TypeVar("Passed")


@dataclass(frozen=True)
class View:
    """How an attack looks at a network.

    Attributes:
        samples: for networks that draw random numbers: passes that are averaged, for logits and for
            gradients (expectation over transformation: Athalye et al. 2018, section 4.2).
        backward: ``straight-through`` gives a surrogate gradient to functions that have none
            (``harness.attacks.engine.straight_through``).
    """

    samples: int = 1
    backward: Backward = "exact"


class Victim:
    """A classifier whose answer for a sample does not depend on the other samples of a batch.

    Rows are padded (``harness.batching``). What the network draws from the global random generators
    comes from a seed, a different one in each pass; the generators are restored after each pass.

    Args:
        model: images (B, C, H, W) in [0, 1] to logits (B, n_classes).
        batch_size: rows a pass.
        view: how the network is looked at.
        seed: of what the network draws; None: it draws nothing, so one pass is enough.
    """

    def __init__(
        self, model: Network, batch_size: int = 256, view: View = View(), seed: int | None = None
    ) -> None:
        self.model = model
        self.view = view
        self.seed = seed
        self.batch_size = batch_size if seed is None else STOCHASTIC_BATCH
        self._passes = 0

    @classmethod
    def of(
        cls, model: nn.Module, images: torch.Tensor, batch_size: int, view: View, rng: Rng
    ) -> Victim:
        """Make a victim, after a trial on a few images whether the network draws random numbers."""
        seed = rng.child("network").seed
        draws = _draws(model, images[:16], seed)
        rows = rows_per_pass(model, images, batch_size)
        return cls(model, rows, view, seed if draws else None)

    @property
    def stochastic(self) -> bool:
        """Whether the network draws: a single mistake may then be the noise's, not the attack's."""
        return self.seed is not None

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, n_classes), without gradient; the mean over passes."""

        def single_pass() -> tuple[torch.Tensor]:
            with torch.no_grad():
                return (in_batches(self.model, images, batch_size=self.batch_size),)

        (logits,) = self._averaged(single_pass)
        return logits

    def gradient(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        targets: torch.Tensor | None,
        loss: LossFunction,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the loss with respect to at most ``batch_size`` images, and the logits there.

        Both are means over passes. Losses are summed, not averaged: dividing by the batch size
        would make a gradient depend on the other samples, and push the smallest to zero.

        Returns:
            float32 (B, C, H, W), zero where the network passes no gradient; and (B, n_classes).
        """
        rows = len(images)

        def single_pass() -> tuple[torch.Tensor, torch.Tensor]:
            inputs = padded(images).detach().requires_grad_()
            padded_targets = None if targets is None else padded(targets)
            with torch.enable_grad():
                with self._backward():
                    logits = self.model(inputs)
                if not logits.requires_grad:
                    return torch.zeros_like(images), logits[:rows]
                total = loss(logits, padded(labels), padded_targets).sum()
                gradient = input_gradient(total, inputs)
            return gradient[:rows], logits[:rows].detach()

        return self._averaged(single_pass)

    def _backward(self) -> AbstractContextManager[Any]:
        if self.view.backward == "exact":
            return nullcontext()
        from harness.attacks.engine.straight_through import StraightThrough

        return StraightThrough()

    def _averaged(self, single_pass: Callable[[], Passed]) -> Passed:
        """The tensors of one pass, or their means over ``view.samples`` if the network draws."""
        if not self.stochastic:
            return single_pass()
        passes: list[Any] = [self._seeded(single_pass) for _ in range(self.view.samples)]
        means: Any = tuple(torch.stack(values).mean(0) for values in zip(*passes, strict=True))
        return means

    def _seeded(self, single_pass: Callable[[], Passed]) -> Passed:
        assert self.seed is not None  # else nothing is drawn
        self._passes += 1
        with isolated_random_state(derive(self.seed, "pass", self._passes)):
            return single_pass()


def input_gradient(total: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Gradient of a sum of losses; zero if none arrives, or torch has none (``heaviside``)."""
    gradient: torch.Tensor | None
    try:
        (gradient,) = torch.autograd.grad(total, inputs, allow_unused=True)
    except RuntimeError as error:
        if "derivative for" not in str(error):
            raise
        gradient = None
    return torch.zeros_like(inputs) if gradient is None else gradient


def _draws(model: nn.Module, images: torch.Tensor, seed: int) -> bool:
    """Whether two passes with different seeds differ, or move torch's random state."""
    passes = []
    moved = False
    for number in range(2):
        with torch.no_grad(), isolated_random_state(derive(seed, "met", number)):
            before = torch.get_rng_state()
            passes.append(model(padded(images)))
            moved |= not torch.equal(torch.get_rng_state(), before)
    return moved or relative_spread(torch.stack(passes)) > ROUNDING


def relative_spread(passes: torch.Tensor) -> float:
    """Largest difference between passes (P, B, n_classes), relative to the largest logit.

    >>> import torch
    >>> relative_spread(torch.tensor([[[4.0, 1.0]], [[4.0, 2.0]]]))
    0.25
    """
    largest_difference = float((passes.amax(0) - passes.amin(0)).max())
    return largest_difference / max(torch.finfo(passes.dtype).tiny, float(passes.abs().max()))


def judge(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each row is classified as its label, and by what margin.

    Args:
        logits: (B, n_classes); a row that is not finite is not correct.
        labels: int64 (B,).

    Returns:
        bool (B,), and float32 (B,): the right logit minus the best wrong one.

    >>> import torch
    >>> judge(torch.tensor([[3.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0]))
    (tensor([ True, False]), tensor([ 2., -2.]))
    """
    right = logits.gather(1, labels[:, None]).squeeze(1)
    best_wrong = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    finite = logits.isfinite().all(1)
    return (logits.argmax(1) == labels) & finite, (right - best_wrong).float()


@contextmanager
def restoring(model: nn.Module) -> Iterator[None]:
    """Freeze the parameters; afterwards, also after an exception, restore every flag and gradient.

    Restored are the training flag of every module, and ``requires_grad`` and ``grad`` of every
    parameter, so code inside may switch modes and call ``backward``.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [
        (parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()
    ]
    try:
        for parameter, _, _ in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, gradient in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
