"""Networks with a planted flaw that an attack and its trust checks must see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from harness.attacks.base import Objective, Task
from harness.attacks.engine.sweep import Sweep, sweep
from harness.attacks.engine.victim import Victim, judge
from harness.attacks.trust import check
from harness.records import TrustCheck
from harness.registry import attacks
from harness.rng import Rng


class Wrapped(nn.Module):
    """A function before and one after a network."""

    def __init__(
        self, inner: nn.Module, before: Callable = lambda x: x, after: Callable = lambda z: z
    ):
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.inner(self.before(x)))


def jpeg(step: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Round the cosine transform of every 8 x 8 block to multiples of ``step``, as JPEG does."""
    k = torch.arange(8.0)
    basis = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) / 2
    basis[0] /= math.sqrt(2)

    def through(x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 8, 0, -height % 8))
        blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)
        rounded = (basis @ blocks @ basis.T / step).round() * step
        back = (basis.T @ rounded @ basis).permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
        return back[..., :height, :width].clamp(0, 1)

    return through


class Winners(nn.Module):
    """k winners take all (Xiao et al. 2020): the k largest units of a row keep their value."""

    def __init__(self, k: int):
        super().__init__()
        self.k = k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x >= x.topk(self.k, dim=1).values[:, -1:])


class Sign(nn.Module):
    """Binary units, trained behind a clipped identity that is gone when the network is measured."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            return x.clamp(-1, 1) + (x.sign() - x.clamp(-1, 1)).detach()
        return x.sign()


def thermometer(levels: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Code each pixel by the thresholds that it is above (Buckman et al. 2018)."""
    return lambda x: torch.cat([(x > level / levels).float() for level in range(levels)], 1)


class Constant(nn.Module):
    """Gives every image the same logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(10.0).expand(len(x), 10) + 0 * x.flatten(1).sum(1, keepdim=True)


AROUND: dict[str, Callable[[nn.Module], nn.Module]] = {
    "logits x1000": lambda net: Wrapped(net, after=lambda z: 1000 * z),
    "logits x0.001": lambda net: Wrapped(net, after=lambda z: 0.001 * z),
    "saturated softmax": lambda net: Wrapped(net, after=lambda z: (100 * z).softmax(1)),
    "probabilities": lambda net: Wrapped(net, after=lambda z: z.softmax(1)),
    "8-bit input": lambda net: Wrapped(net, before=lambda x: (255 * x).round() / 255),
    "noise": lambda net: Wrapped(net, before=lambda x: x + 0.1 * torch.randn_like(x)),
    "jpeg": lambda net: Wrapped(net, before=jpeg(0.05)),
    "constant": lambda net: Constant(),
}
"""Flaws that can be put around any network."""

INSIDE: dict[str, Callable[[int], nn.Module]] = {
    "winners": lambda size: nn.Sequential(
        nn.Flatten(), nn.Linear(size, 200), Winners(30), nn.Linear(200, 10)
    ),
    "sign": lambda size: nn.Sequential(
        nn.Flatten(), nn.Linear(size, 200), Sign(), nn.Linear(200, 10)
    ),
    "thermometer": lambda size: Wrapped(
        nn.Sequential(nn.Flatten(), nn.Linear(10 * size, 100), nn.ReLU(), nn.Linear(100, 10)),
        before=thermometer(10),
    ),
}
"""Flaws that a network of so many pixels is trained with."""

SMOOTH, THROUGH = (
    {"loss": ["margin", "ce-norm"]},
    {"loss": ["ce", "margin"], "backward": "straight-through"},
)
ADAPTED: dict[str, dict] = {
    "logits x1000": SMOOTH,
    "logits x0.001": SMOOTH,
    "saturated softmax": {**SMOOTH, "backward": "straight-through"},
    "probabilities": SMOOTH,
    "8-bit input": THROUGH,
    "noise": {"loss": ["ce", "margin"], "samples": 16},
    "jpeg": THROUGH,
    "winners": THROUGH,
    "sign": THROUGH,
    "thermometer": THROUGH,
    "constant": {},
}
"""Keys of PGD that see past each flaw."""

SAME = ("logits x1000", "logits x0.001", "saturated softmax", "probabilities")
"""Flaws that change no decision, so that the truth is the sound network's."""


def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    epochs: int = 6,
    seed: int = 0,
    adversarial: float = 0.0,
    draw: bool = True,
) -> nn.Module:
    """Train with Adam.

    Args:
        model: what is trained, and returned in eval mode.
        images: float32 (N, C, H, W).
        labels: int64 (N,), or float32 (N, classes) of probabilities.
        epochs: passes over the images.
        seed: of the initial weights and of the order of the images.
        adversarial: the Linf budget of one random FGSM step on each batch.
        draw: draw the initial weights; otherwise those of the model are kept.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters() if draw else ():
            bound = 1 / max(1, parameter[0].numel()) ** 0.5
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
    optimiser = torch.optim.Adam(model.train().parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            x = images[rows]
            if adversarial:
                delta = adversarial * (2 * torch.rand(x.shape, generator=generator) - 1)
                moved = (x + delta).clamp(0, 1).requires_grad_()
                (gradient,) = torch.autograd.grad(
                    F.cross_entropy(model(moved), labels[rows]), moved
                )
                x = (
                    x
                    + (delta + 1.25 * adversarial * gradient.sign()).clamp(
                        -adversarial, adversarial
                    )
                ).clamp(0, 1)
            optimiser.zero_grad()
            F.cross_entropy(model(x), labels[rows]).backward()
            optimiser.step()
    model.zero_grad(set_to_none=True)
    return model.eval()


def attacked(
    net: nn.Module, images: torch.Tensor, labels: torch.Tensor, kind: str, **keys
) -> Sweep:
    """A sweep by an attack, from its name and keys."""
    return _swept(net, images, labels, kind, keys)[0]


def judged(
    net: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    kind: str,
    *,
    fresh: Callable[[], nn.Module] | None = None,
    relatives: Mapping[str, nn.Module] | None = None,
    **keys,
) -> tuple[Sweep, list[TrustCheck]]:
    """A sweep and its trust checks."""
    result, attack = _swept(net, images, labels, kind, keys)
    identity = np.arange(len(images))
    checks = check(
        net, images, labels, identity, attack, Rng(0), result, fresh=fresh, relatives=relatives
    )
    return result, checks


def searched(
    net: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: Sequence[float],
    worst: np.ndarray,
    queries: int,
) -> np.ndarray:
    """Survivors (E, N) of other attacks that Square leaves too: it is tried on no other image."""
    left = worst.copy()
    for place, budget in enumerate(eps):
        rows = np.flatnonzero(left[place])
        if len(rows):
            keys = {"eps": [budget], "queries": queries}
            left[place, rows] = attacked(net, images[rows], labels[rows], "square", **keys).worst[0]
    return np.logical_and.accumulate(left)


def _swept(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, kind: str, keys: dict):
    cls = attacks[kind]
    attack = cls(cls.Config.model_validate({"attack": kind, **keys}))
    return sweep(net, images, labels, np.arange(len(images)), attack, Rng(0)), attack


def adapted(
    name: str,
    net: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: Sequence[float],
    queries: int = 500,
) -> tuple[np.ndarray, list[TrustCheck]]:
    """Robust accuracy (E,) under PGD with the right keys (Square for jumps), and checks."""
    result, checks = judged(
        net, images, labels, "pgd", eps=list(eps), steps=40, restarts=2, **ADAPTED[name]
    )
    worst = result.worst
    if ADAPTED[name] == THROUGH:
        worst = searched(net, images, labels, eps, worst, queries)
    return worst.mean(1), checks


def truth(
    name: str,
    net: nn.Module,
    sound: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: Sequence[float],
    queries: int = 3000,
) -> np.ndarray:
    """Robust accuracy (E,) under all attacks; the sound network's if decisions are equal."""
    grid = list(eps)
    if name in SAME:
        strong = {"steps": 100, "restarts": 3, "loss": ["ce", "margin", "ce-norm"]}
        return attacked(sound, images, labels, "pgd", eps=grid, **strong).accuracy()
    keys = {"steps": 60, "samples": 32} if name == "noise" else {"steps": 200}
    worst = attacked(
        net, images, labels, "pgd", eps=grid, restarts=2, **{**ADAPTED[name], **keys}
    ).worst
    worst &= _transferred(net, sound, images, labels, grid, samples=keys.get("samples", 1))
    if name not in ("noise", "constant"):
        worst &= attacked(
            net, images, labels, "pgd", eps=grid, steps=40, loss=["ce", "margin"]
        ).worst
        worst = searched(net, images, labels, grid, worst, queries)
    return worst.mean(1)


def _transferred(
    net: nn.Module,
    sound: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: list[float],
    samples: int,
) -> np.ndarray:
    """Which images withstand transfer from the sound network at each eps and below, (E, N)."""
    cls, worst = attacks["pgd"], []
    attack = cls(
        cls.Config(
            attack="pgd", eps=eps, steps=40, loss=["margin"], iterate="last", samples=samples
        )
    )
    victim = Victim.of(net, images, 256, attack.view, Rng(1))
    for budget in eps:
        task = Task(
            images,
            labels,
            None,
            np.arange(len(images)),
            budget,
            Objective("margin"),
            0,
            None,
            Rng(1),
        )
        moved = attack.perturb(Victim(sound), task).adversarial if budget else images
        worst.append(judge(victim.logits(moved), labels)[0].numpy())
    return np.logical_and.accumulate(worst)


def remarks(checks: Sequence[TrustCheck], level: str) -> list[str]:
    """Names of the checks that came out so."""
    return [one.name for one in checks if one.level == level]
