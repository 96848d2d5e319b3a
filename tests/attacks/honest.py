"""Twenty networks that hide nothing, on `mnist5k`: no trust check may fail on one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from flaws import train
from torch import nn

from harness.data.base import Images
from harness.registry import datasets, learners
from harness.rng import Rng

COARSE, FINE, WIDE, FEW = [0.0, 0.05, 0.1, 0.2], [0.01, 0.02, 0.03, 0.04], [0.1, 0.2, 0.3], [0.08]
Labelled = tuple[torch.Tensor, torch.Tensor]


@cache
def _splits() -> tuple[Images, Images]:
    loaded = datasets["mnist5k"](datasets["mnist5k"].Config()).build()
    return loaded.split("standard", "train"), loaded.split("standard", "test")


@cache
def mnist5k() -> tuple[Labelled, Labelled]:
    """Training and test images and labels, the test images in an order of their own."""
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    (x, y), (test, labels) = ((one.tensor(), torch.from_numpy(one.labels)) for one in _splits())
    return (x, y), (test[order], labels[order])


def mlp(*hidden: int, seed: int = 0, **keys) -> nn.Module:
    """Rectified units."""
    sizes, layers = [784, *hidden], [nn.Flatten()]
    for size, following in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(size, following), nn.ReLU()]
    return train(nn.Sequential(*layers, nn.Linear(sizes[-1], 10)), *mnist5k()[0], seed=seed, **keys)


def conv(width: int, seed: int = 0, activation: type[nn.Module] = nn.ReLU, **keys) -> nn.Module:
    """Two convolutions."""
    net = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(98 * width, 10),
    )
    return train(net, *mnist5k()[0], epochs=3, seed=seed, **keys)


class Radial(nn.Module):
    """Gaussians about training images, and a linear read-out of their shares."""

    def __init__(self, centres: torch.Tensor, width: float):
        super().__init__()
        self.register_buffer("centres", centres)
        self.width, self.out = width, nn.Linear(len(centres), 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(
            20 * torch.softmax(-torch.cdist(x.flatten(1), self.centres).square() / self.width, 1)
        )


class Prototypes(nn.Module):
    """Log-probabilities of a softmax over squared distances to training images, summed by class."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, each: int, sharpness: float):
        super().__init__()
        self.register_buffer(
            "centres", torch.stack([images[labels == k][:each].flatten(1) for k in range(10)])
        )
        self.sharpness = sharpness

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        distances = (x.flatten(1)[:, None, None] - self.centres).square().sum(-1)
        return torch.log_softmax(torch.logsumexp(-self.sharpness * distances, -1), 1)


def learned(kind: str, seed: int = 0, **keys) -> nn.Module:
    """The classifier of one of the harness's learners."""
    train_split, cls = _splits()[0], learners[kind]
    learner = cls(
        cls.Config.model_validate(keys), train_split.shape, 10, Rng(seed).child("learner")
    )
    learner.fit(train_split)
    return learner.classifier()


HONEST: dict[str, tuple[Callable[[], nn.Module], list[float]]] = {
    "mlp 50": (partial(mlp, 50), COARSE),
    "mlp 100, seed 1": (partial(mlp, 100, seed=1), FINE),
    "mlp 400, seed 2": (partial(mlp, 400, seed=2), COARSE),
    "mlp 200-100": (partial(mlp, 200, 100, seed=3), FEW),
    "mlp 100-100-100": (partial(mlp, 100, 100, 100, seed=4), COARSE),
    "mlp 200, 1 epoch": (partial(mlp, 200, seed=5, epochs=1), WIDE),
    "mlp 100, 25 epochs": (partial(mlp, 100, seed=6, epochs=25), FINE),
    "conv 8": (partial(conv, 8), COARSE),
    "conv 16, seed 1": (partial(conv, 16, seed=1), FEW),
    "conv 8, tanh": (partial(conv, 8, seed=2, activation=nn.Tanh), COARSE),
    "mlp 200, adversarial": (partial(mlp, 200, seed=7, adversarial=0.1, epochs=10), COARSE),
    "conv 8, adversarial": (partial(conv, 8, seed=3, adversarial=0.15), WIDE),
    "nearest mean": (partial(learned, "nearest-mean"), COARSE),
    "prototypes 12": (lambda: Prototypes(*mnist5k()[0], 12, 0.2).eval(), COARSE),
    "prototypes of k-means": (partial(learned, "prototypes", hidden=200), COARSE),
    "radial": (lambda: train(Radial(mnist5k()[0][0][:300].flatten(1), 20.0), *mnist5k()[0]), FEW),
    "ech": (partial(learned, "ech", hidden=400, epochs=5), COARSE),
    "ech, seed 1": (partial(learned, "ech", seed=1, hidden=200, epochs=5), WIDE),
    "ech-stack": (partial(learned, "ech-stack"), FEW),
    "eg-3f": (partial(learned, "eg-3f"), COARSE),
}
"""Name -> how it is made, and the grid that it is attacked over."""


def honest(name: str) -> tuple[nn.Module, list[float], torch.Tensor, torch.Tensor]:
    """A network, its grid, and 320 test images with labels."""
    make, eps = HONEST[name]
    x, y = mnist5k()[1]
    return make(), eps, x[:320], y[:320]
