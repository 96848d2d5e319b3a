"""Speed of one sweep over six budgets, relative to torchattacks' PGD run once for each budget.

    python tests/benchmarks/sweep.py [repeats]

Same networks and images, one thread. Ratios are of CPU times, measured in turns in one process, so
that a busy machine slows both alike. Robust accuracies are printed too: speed must not be gained by
weaker attacks.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import torch
from torch import nn

from harness.attacks.engine.sweep import sweep
from harness.attacks.pgd import PGD
from harness.data.base import Images
from harness.registry import datasets, learners
from harness.rng import Rng

GRIDS = {
    "0.02 to 0.3": [0.02, 0.05, 0.1, 0.15, 0.2, 0.3],
    "0.05 to 0.3": [0.05, 0.1, 0.15, 0.2, 0.25, 0.3],
}
STEPS, IMAGES = 20, 500


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The 5,000 images of ``mnist5k``, shuffled."""
    data = datasets["mnist5k"](datasets["mnist5k"].Config()).build()
    order = np.random.default_rng(0).permutation(len(data.pixels))
    pixels = torch.tensor(data.pixels[order] / 255, dtype=torch.float32)
    return pixels, torch.tensor(data.labels[order])


def mlp() -> nn.Module:
    """784-400-10, untrained."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10))


def conv() -> nn.Module:
    """Two convolutions, untrained."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 10),
    )


def train(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float = 0.0
) -> nn.Module:
    """Four epochs of Adam, or with ``eps`` eight of PGD-7 training (Madry et al. 2018)."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(8 if eps else 4):
        for rows in torch.randperm(len(images)).split(64):
            x, y = images[rows], labels[rows]
            seen = _hardest(model, x, y, eps) if eps else x
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(seen), y).backward()
            optimiser.step()
    return model.eval()


def _hardest(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float
) -> torch.Tensor:
    points = images + eps * (2 * torch.rand_like(images) - 1)
    for _ in range(7):
        points = points.clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(
            nn.functional.cross_entropy(model(points), labels), points
        )
        points = images + (points.detach() + 0.25 * eps * gradient.sign() - images).clamp(-eps, eps)
    return points.clamp(0, 1)


def rule(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """The bio rule with its defaults."""
    ech = learners["ech"]
    learner = ech(ech.Config(hidden=400), (1, 28, 28), 10, Rng(0))
    learner.fit(
        Images((images * 255).round().byte().numpy(), labels.numpy(), np.arange(len(labels)), 10)
    )
    return learner.classifier()


def networks(images: torch.Tensor, labels: torch.Tensor) -> dict[str, nn.Module]:
    """Trained naturally, adversarially (Linf 0.1), and by the rule."""
    torch.manual_seed(0)
    return {
        "mlp": train(mlp(), images, labels),
        "conv": train(conv(), images, labels),
        "mlp, adversarial": train(mlp(), images, labels, 0.1),
        "conv, adversarial": train(conv(), images, labels, 0.1),
        "bio rule": rule(images, labels),
    }


def torchattacks_once_an_eps(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, grid: list[float]
) -> np.ndarray:
    """Robust accuracy at each eps, as a script around torchattacks gets it, in chunks of 250."""
    import torchattacks

    with torch.no_grad():
        stands = model(images).argmax(1) == labels
    accuracies = []
    for eps in grid:
        attack = torchattacks.PGD(model, eps=eps, alpha=2.5 * eps / STEPS, steps=STEPS)
        adversarial = torch.cat(
            [attack(x, y) for x, y in zip(images.split(250), labels.split(250), strict=True)]
        )
        with torch.no_grad():
            accuracies.append(
                float((stands & (model(adversarial).argmax(1) == labels)).float().mean())
            )
    return np.array(accuracies)


def ours(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, grid: list[float], mode: str
) -> np.ndarray:
    """Robust accuracy at each eps from one sweep."""
    attack = PGD(PGD.Config(attack="pgd", eps=grid, steps=STEPS, sweep=mode))
    return sweep(model, images, labels, np.arange(len(images)), attack, Rng(0)).accuracy()


def compare(name: str, grid_name: str, subject: tuple, repeats: int) -> None:
    """Print one line a way of sweeping."""
    ways = {
        "torchattacks PGD, once an eps": lambda: torchattacks_once_an_eps(*subject),
        "sweep: independent": lambda: ours(*subject, "independent"),
        "sweep: nested": lambda: ours(*subject, "nested"),
        "sweep: bisect": lambda: ours(*subject, "bisect"),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    found = {}
    for _ in range(repeats):
        for way, function in ways.items():
            start = time.process_time()
            found[way] = function()
            times[way].append(time.process_time() - start)
    base = statistics.median(times["torchattacks PGD, once an eps"])
    for way, taken in times.items():
        median = statistics.median(taken)
        print(
            f"{name:17} {grid_name:12} {way:31} {median:7.2f} s  x{base / median:4.1f}  "
            f"robust {np.round(found[way], 3)}"
        )


def main(repeats: int) -> None:
    """Every network on both grids."""
    torch.set_num_threads(1)
    images, labels = digits()
    for name, model in networks(images[:4000], labels[:4000]).items():
        for grid_name, grid in GRIDS.items():
            subject = (model, images[4000 : 4000 + IMAGES], labels[4000 : 4000 + IMAGES], grid)
            compare(name, grid_name, subject, repeats)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
