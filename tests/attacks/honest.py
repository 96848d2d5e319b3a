"""Thirty networks that hide nothing, on `mnist5k`: no trust check may fail on one."""

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


def norm_mlp(*hidden: int, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """Rectified units with layer norm, and dropout while it is trained."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [784, *hidden]
    for size, following in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(size, following), nn.LayerNorm(following), nn.ReLU()]
        layers += [nn.Dropout(dropout)]
    return built(lambda: nn.Sequential(*layers, nn.Linear(sizes[-1], 10)), seed)


def built(make: Callable[[], nn.Module], seed: int = 0, epochs: int = 3) -> nn.Module:
    """A network with the initial weights that torch gives it, trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return train(make(), *mnist5k()[0], epochs=epochs, seed=seed, draw=False)


class Block(nn.Module):
    """Two convolutions with batch norm around a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(inside)))


def resnet(width: int = 12) -> nn.Module:
    """Two residual blocks at half resolution."""
    stem = [nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(width)]
    blocks = [Block(width), nn.AvgPool2d(2), Block(width)]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10)]
    return nn.Sequential(*stem, nn.ReLU(), *blocks, *head)


class Transformer(nn.Module):
    """Two layers of attention over 16 patches of 7 x 7 pixels."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, stride=7)
        self.places = nn.Parameter(0.1 * torch.randn(16, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.layers(tokens).mean(1))


def distilled(temperature: float = 3.0) -> nn.Module:
    """A student that learns the softened answers of a convolutional teacher."""
    (images, _), teacher = mnist5k()[0], conv(8)
    with torch.no_grad():
        soft = (teacher(images) / temperature).softmax(1)
    student = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    return train(student, images, soft)


def smooth_conv() -> nn.Module:
    """Two convolutions with GELU and mean pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(784, 10),
    )


def batch_norm_conv() -> nn.Module:
    """Two strided convolutions with batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(784, 10),
    )


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
    "transformer": (partial(built, Transformer, epochs=6), COARSE),
    "resnet": (partial(built, resnet), COARSE),
    "conv 8, batch norm": (partial(built, batch_norm_conv), FEW),
    "conv 8, gelu": (partial(built, smooth_conv), COARSE),
    "mlp 100, distilled": (distilled, COARSE),
    "mlp 200, layer norm, dropout": (partial(norm_mlp, 200, dropout=0.5), COARSE),
    "mlp 100-100, layer norm": (partial(norm_mlp, 100, 100, seed=1), WIDE),
    "linear": (mlp, FINE),
    "random features": (partial(learned, "random-features"), COARSE),
    "mlp 100, adversarial": (partial(mlp, 100, seed=8, adversarial=0.05), FINE),
}
"""Name -> how it is made, and the grid that it is attacked over."""


def honest(name: str) -> tuple[nn.Module, list[float], torch.Tensor, torch.Tensor]:
    """A network, its grid, and 320 test images with labels."""
    make, eps = HONEST[name]
    x, y = mnist5k()[1]
    return make(), eps, x[:320], y[:320]
