"""The network under attack, seen as two functions; and the network left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from harness.attacks.engine.layout import rows_at_once
from harness.attacks.engine.sealed import sealed
from harness.batching import in_batches, padded
from harness.lazy import nn, torch
from harness.rng import Rng, derive

LossFunction = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]
"""Logits (B, n), labels (B,), targets (B,) or None, to one loss a row (B,), to be climbed."""


Backward = Literal["exact", "straight-through"]

NOISE = 1e-5
"""Of the largest logit: passes that differ by more differ by what the network draws, not by rounding."""

AT_ONCE = 256
"""Rows pushed through a network that draws: always so many, or what it draws would depend on the batch size."""


@dataclass(frozen=True)
class View:
    """How an attack looks at a network.

    Attributes:
        samples: passes that are averaged where the network draws random numbers, for logits and for gradients
            (expectation over transformation: Athalye et al. 2018, section 4.2).
        backward: ``straight-through``: functions without a gradient are given one (harness.attacks.engine.surrogates).
    """

    samples: int = 1
    backward: Backward = "exact"


class Victim:
    """A classifier whose answers about a sample do not depend on its company: rows are padded (harness.batching).

    What a network draws from global random states is drawn from a seed of ours, another one in each pass, and the states
    are as before afterwards.

    Args:
        model: images (B, C, H, W) in [0, 1] to logits (B, n_classes).
        batch_size: rows pushed through at once.
        view: how it is looked at.
        seed: of what the network draws; None: it draws nothing, and one pass says all.
    """

    def __init__(
        self, model: nn.Module, batch_size: int = 256, view: View = View(), seed: int | None = None
    ):
        self.model, self.view, self.seed = model, view, seed
        self.batch_size = batch_size if seed is None else AT_ONCE
        self._drawn = 0

    @classmethod
    def met(
        cls, model: nn.Module, images: torch.Tensor, batch_size: int, view: View, rng: Rng
    ) -> Victim:
        """The victim that a network is: it is tried on a few of ``images``, whether it draws random numbers."""
        seed = rng.child("network").seed
        return cls(
            model,
            rows_at_once(model, images, batch_size),
            view,
            seed if _draws(model, images[:16], seed) else None,
        )

    @property
    def stochastic(self) -> bool:
        """Whether the network draws: a single mistake may then be the noise's, not the perturbation's."""
        return self.seed is not None

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, n_classes), without gradient; the mean over passes."""

        def once() -> torch.Tensor:
            with torch.no_grad():
                return in_batches(self.model, images, batch_size=self.batch_size)

        return self._averaged(once)

    def gradient(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        targets: torch.Tensor | None,
        loss: LossFunction,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the loss with respect to at most ``batch_size`` images, and the logits there; means over passes.

        The loss is summed, not averaged: dividing by the batch size would make a gradient depend on the company, and
        push the smallest to zero. Where the network passes no gradient it is zero.
        """
        rows = len(images)

        def once() -> tuple[torch.Tensor, torch.Tensor]:
            inputs = padded(images).clone().requires_grad_()
            padded_targets = None if targets is None else padded(targets)
            with torch.enable_grad():
                with self._backward():
                    logits = self.model(inputs)
                if not logits.requires_grad:
                    return torch.zeros_like(images), logits[:rows]
                total = loss(logits, padded(labels), padded_targets).sum()
                gradient = input_gradient(total, inputs)
            return gradient[:rows], logits[:rows].detach()

        return self._averaged(once)

    def _backward(self) -> AbstractContextManager:
        if self.view.backward == "exact":
            return nullcontext()
        from harness.attacks.engine.surrogates import StraightThrough

        return StraightThrough()

    def _averaged(self, once: Callable[[], Any]) -> Any:
        """What ``once`` gives, a tensor or a pair of them; for a network that draws the mean over ``view.samples`` calls."""
        if not self.stochastic:
            return once()
        passes = [self._sealed(once) for _ in range(self.view.samples)]
        if isinstance(passes[0], tuple):
            return tuple(torch.stack(values).mean(0) for values in zip(*passes, strict=True))
        return torch.stack(passes).mean(0)

    def _sealed(self, once: Callable[[], Any]) -> Any:
        self._drawn += 1
        with sealed(derive(self.seed, "pass", self._drawn)):
            return once()


def input_gradient(total: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Gradient of a sum of losses; zero where none comes through, or torch has none to give (``heaviside``)."""
    try:
        (gradient,) = torch.autograd.grad(total, inputs, allow_unused=True)
    except RuntimeError as error:
        if "derivative for" not in str(error):
            raise
        gradient = None
    return torch.zeros_like(inputs) if gradient is None else gradient


def _draws(model: nn.Module, images: torch.Tensor, seed: int) -> bool:
    """Whether two passes of the same images, from different seeds, give different logits, or torch's random state moves."""
    passes, moved = [], False
    for number in range(2):
        with torch.no_grad(), sealed(derive(seed, "met", number)):
            before = torch.get_rng_state()
            passes.append(model(padded(images)))
            moved |= not torch.equal(torch.get_rng_state(), before)
    return moved or spread(torch.stack(passes)) > NOISE


def spread(passes: torch.Tensor) -> float:
    """By how much repeated passes (P, B, n_classes) differ at most, as a part of the largest logit."""
    differ = float((passes.amax(0) - passes.amin(0)).max())
    return differ / max(torch.finfo(passes.dtype).tiny, float(passes.abs().max()))


def judge(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each row is classified as its label, and by what margin.

    Args:
        logits: (B, n_classes); a row that is not finite is not correct.
        labels: int64 (B,).

    Returns:
        bool (B,), and float32 (B,): right logit minus the best wrong one.
    """
    right = logits.gather(1, labels[:, None]).squeeze(1)
    best_wrong = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    finite = logits.isfinite().all(1)
    return (logits.argmax(1) == labels) & finite, (right - best_wrong).float()


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Parameters ask for no gradient inside; on the way out, also after an exception, every flag is what it was.

    Kept: the training flag of every module, ``requires_grad`` and ``grad`` of every parameter. Code inside may switch
    modes and call ``backward``: nothing of it stays.
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
