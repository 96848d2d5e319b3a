"""Networks that hide their weakness from gradients, in ways that checks of the gradient miss.

Each is put around an honest network, or made of one, and decides as that one does on images that it
meets for the first time. So an attack that sees the honest network gives the truth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from flaws import THROUGH, Winners, attacked, judged, searched, train
from torch import nn

from harness.attacks.base import Objective, Task
from harness.attacks.engine.victim import Victim, judge
from harness.attacks.square import search_squares
from harness.records import TrustCheck
from harness.registry import attacks
from harness.rng import Rng

NEAR = 0.3
"""Linf distance at which a network with a memory takes two images for the same."""


class Memory:
    """Images met, what was said of each at first, and how often each was asked about.

    Args:
        tolerance: Linf distance within which two images are the same.
    """

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.keys = torch.zeros(0, 1)
        self.answers = torch.zeros(0, dtype=torch.int64)
        self.asked = torch.zeros(0, dtype=torch.int64)

    def recall(
        self, images: torch.Tensor, answers: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What was said first of each image (B,), and how often it was asked about before (B,)."""
        new = torch.ones(len(images), dtype=torch.bool)
        if len(self.keys):
            new = self.distances(images).amin(1) > self.tolerance
        self.keys = torch.cat([self.keys, images[new]]) if len(self.keys) else images[new].clone()
        self.answers = torch.cat([self.answers, answers[new]])
        self.asked = torch.cat([self.asked, torch.zeros(int(new.sum()), dtype=torch.int64)])
        nearest = self.distances(images).argmin(1)
        before = self.asked[nearest]
        self.asked[nearest] += 1
        return self.answers[nearest], before

    def distances(self, images: torch.Tensor) -> torch.Tensor:
        """Linf distance of each image to each key, (B, M)."""
        return torch.cdist(images, self.keys, p=float("inf"))


class Plastic(nn.Module):
    """Remembers what it said of an image, and is surer of that near it.

    What it remembers is neither a parameter nor a buffer.
    """

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner
        self.memory = Memory(NEAR)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.inner(x)
        first, _ = self.memory.recall(x.detach().flatten(1), logits.argmax(1))
        return logits + 6 * F.one_hot(first, logits.shape[1])


def habit(tolerance: float = 0.11, patience: int = 2) -> Callable[..., torch.Tensor]:
    """A memory in a closure, which copies of a network share: habits of coarse images.

    The first ``patience`` questions about an image get honest answers. After that the answer is
    what was said first. Images are the same if no mean over 7 x 7 pixels differs by ``tolerance``.
    """
    memory = Memory(tolerance)

    def habitual(x: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        coarse = F.avg_pool2d(x.detach(), max(1, x.shape[-1] // 4)).flatten(1)
        first, before = memory.recall(coarse, logits.argmax(1))
        sure = (before >= patience)[:, None]
        return logits + 8 * sure * F.one_hot(first, logits.shape[1])

    return habitual


class Habituated(nn.Module):
    """Answers twice what it thinks of an image, and from then on what it said first."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner
        self.habitual = habit()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.habitual(x, self.inner(x))


class Decoy(nn.Module):
    """Decides as ``inner`` and passes the gradient of class means.

    A rounding without any effect makes it look as if that were a surrogate gradient.
    """

    def __init__(self, inner: nn.Module, means: torch.Tensor):
        super().__init__()
        self.inner = inner
        self.register_buffer("means", means)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        soft = x.flatten(1) @ self.means.T - 0.5 * self.means.square().sum(1)
        nothing = 0 * x.round().detach().flatten(1)[:, :1]
        hard = self.inner(x.detach()) + nothing
        return (hard - soft).detach() + soft


class _Rewritten(torch.autograd.Function):
    """One tensor forward, the gradient of another backward: no detach that could be undone."""

    @staticmethod
    def forward(ctx: Any, hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, gradient


class Rewritten(Decoy):
    """The same decoy, whose backward pass is a function of its own, without any rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        soft = x.flatten(1) @ self.means.T - 0.5 * self.means.square().sum(1)
        return _Rewritten.apply(self.inner(x.detach()), soft)


class Minority(Decoy):
    """The decoy for images that it takes for one of three classes, honest for the others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        honest = self.inner(x)
        masked = super().forward(x)
        hidden = honest.detach().argmax(1, keepdim=True) < 3
        return torch.where(hidden, masked, honest)


class Bait(nn.Module):
    """Every gradient is exact, and follows a bait that no decision depends on.

    The winner's lead grows by the image's contrast, which is steeper than the lead itself. Attacks
    turn the image grey, as far as they may, and leave the decision alone.
    """

    def __init__(self, inner: nn.Module, steepness: float = 1000.0):
        super().__init__()
        self.inner = inner
        self.steepness = steepness

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.inner(x)
        between = logits.topk(2, 1).values.mean(1, keepdim=True)
        contrast = (2 * x - 1).square().flatten(1).mean(1, keepdim=True)
        return logits + self.steepness * contrast * torch.tanh(1e4 * (logits - between))


class Sparsified(nn.Module):
    """Hidden units near their mean over the training images are replaced by that mean.

    Put into a trained network (Amini et al. 2024, MeanSparse, without training on). Where a unit is
    replaced it passes no gradient.
    """

    def __init__(self, inner: nn.Sequential, images: torch.Tensor, width: float):
        super().__init__()
        self.before, self.after = inner[:2], inner[2:]
        with torch.no_grad():
            hidden = self.before(images)
        self.register_buffer("mean", hidden.mean(0))
        self.register_buffer("band", width * hidden.std(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.before(x)
        near = (hidden - self.mean).abs() <= self.band
        return self.after(torch.where(near, self.mean, hidden))


class Power(nn.Module):
    """Rectified units to the n-th power: the energy of a dense associative memory."""

    def __init__(self, n: float):
        super().__init__()
        self.n = n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp_min(0) ** self.n


class Squashed(nn.Module):
    """Scores behind a tanh that is nearly saturated, as dense associative memories have it."""

    def __init__(self, scores: nn.Module, gain: float):
        super().__init__()
        self.scores = scores
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.gain * self.scores(x))


@dataclass(frozen=True)
class Mask:
    """A network that hides something.

    Attributes:
        make: the network, new at each call: nothing has been measured on it.
        seen_through: a network with the same first answers whose gradient is honest; None: the
            keys that flaws that jump ask for see through it.
        naive: keys of PGD that do not see it.
        queries: of Square, where what is behind the mask has too flat a gradient for PGD alone.
    """

    make: Callable[[], nn.Module]
    seen_through: Callable[[], nn.Module] | None
    naive: dict[str, Any]
    queries: int = 0


NAMES = (
    "plastic",
    "habituated",
    "decoy",
    "rewritten",
    "minority",
    "bait",
    "associative memory",
    "deep winners",
    "sparsified",
)
"""Of every mask."""

BOTH = {"steps": 20, "loss": ["ce", "margin"]}
CE = {"steps": 20, "loss": ["ce"]}


def class_means(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(classes, pixels)."""
    return torch.stack([images[labels == k].flatten(1).mean(0) for k in range(10)])


def masks(
    inner: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    hidden: int = 200,
    gain: float = 0.3,
) -> dict[str, Mask]:
    """Every mask, around an honest network, or trained on images; ``gain`` is that of the tanh."""
    size = images[0].numel()
    means = class_means(images, labels)
    memory = train(
        nn.Sequential(
            nn.Flatten(), nn.Linear(size, hidden, bias=False), Power(3), nn.Linear(hidden, 10)
        ),
        images,
        labels,
    )
    plain = train(
        nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 10)),
        images,
        labels,
    )
    winners = train(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, 2 * hidden),
            Winners(hidden // 5),
            nn.Linear(2 * hidden, hidden),
            Winners(hidden // 10),
            nn.Linear(hidden, 10),
        ),
        images,
        labels,
    )
    return {
        "plastic": Mask(lambda: Plastic(inner), lambda: inner, BOTH),
        "habituated": Mask(lambda: Habituated(inner), lambda: inner, BOTH),
        "decoy": Mask(lambda: Decoy(inner, means), lambda: inner, BOTH),
        "rewritten": Mask(lambda: Rewritten(inner, means), lambda: inner, BOTH),
        "minority": Mask(lambda: Minority(inner, means), lambda: inner, BOTH),
        "bait": Mask(lambda: Bait(inner), lambda: inner, BOTH),
        "associative memory": Mask(lambda: Squashed(memory, gain), lambda: memory, CE, queries=300),
        "deep winners": Mask(lambda: copy.deepcopy(winners), None, BOTH),
        "sparsified": Mask(lambda: Sparsified(plain, images, 1.0), None, BOTH),
    }


def _on_first_sight(
    mask: Mask,
    keys: dict[str, Any],
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: Sequence[float],
    queries: int,
) -> np.ndarray:
    """Which images survive PGD, and Square, behind a mask, judged on a new network."""
    assert mask.seen_through is not None
    pgd = attacks["pgd"].of(eps=list(eps), **keys)
    victim = Victim(mask.seen_through())
    identity = np.arange(len(images))
    worst = []
    before: dict[Objective, torch.Tensor] = {}  # where the last run ended, as a share of its eps
    for budget in eps:
        robust = torch.ones(len(images), dtype=torch.bool)
        for loss in pgd.objectives:
            start = before[loss] * budget if loss in before else None
            task = Task(images, labels, None, identity, budget, loss, 0, start, Rng(3))
            moved = [pgd.perturb(victim, task).adversarial]
            before[loss] = (moved[0] - images) / budget
            if queries:
                moved.append(search_squares(victim, task, queries))
            for each in moved:
                robust &= judge(Victim(mask.make()).logits(each), labels)[0]
        worst.append(robust.numpy())
    return np.logical_and.accumulate(worst)


def adapted(
    mask: Mask, images: torch.Tensor, labels: torch.Tensor, eps: Sequence[float], queries: int = 500
) -> np.ndarray:
    """Robust accuracy (E,) under the attack that knows the mask, judged on the masked network."""
    if mask.seen_through is not None:
        keys = {"steps": 100, "loss": ["margin", "ce-norm", "ce"]}
        return _on_first_sight(mask, keys, images, labels, eps, mask.queries).mean(1)
    net = mask.make()
    worst = attacked(
        net, images, labels, "pgd", eps=list(eps), steps=40, restarts=2, **THROUGH
    ).worst
    return searched(net, images, labels, eps, worst, queries).mean(1)


def truth(
    mask: Mask,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: Sequence[float],
    queries: int = 2000,
) -> np.ndarray:
    """Robust accuracy (E,) under all attacks on what is behind the mask, or on the network.

    Behind a mask is an honest network, of which a search takes nothing that long gradient attacks
    leave, unless its gradient is flat: it gets as many queries as the mask's own attack needs.
    """
    grid = list(eps)
    net = (mask.seen_through or mask.make)()
    strong = {"steps": 100, "restarts": 2, "loss": ["margin", "ce-norm"]}
    worst = attacked(net, images, labels, "pgd", eps=grid, **strong).worst
    if mask.seen_through is None:
        through = {**strong, "backward": "straight-through"}
        worst &= attacked(net, images, labels, "pgd", eps=grid, **through).worst
    if mask.seen_through is not None:
        queries = min(queries, mask.queries)
    return searched(net, images, labels, grid, worst, queries).mean(1) if queries else worst.mean(1)


def naive(
    mask: Mask,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: Sequence[float],
    relatives: Mapping[str, nn.Module],
) -> tuple[np.ndarray, list[TrustCheck]]:
    """Robust accuracy (E,) under PGD that does not see the mask, and its trust checks."""
    result, checks = judged(
        mask.make(),
        images,
        labels,
        "pgd",
        eps=list(eps),
        fresh=mask.make,
        relatives=relatives,
        **mask.naive,
    )
    return result.accuracy(), checks
