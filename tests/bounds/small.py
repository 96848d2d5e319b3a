"""Small networks of every kind that has a bound, with random weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from harness.rules.modules.competitive import CompetitiveCode, ExcitatoryReadout


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(model: nn.Module, seed: int, gain: float = 1.5) -> nn.Module:
    """Normal weights of a size that keeps activity alive."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = max(1, parameter[0].numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * gain / fan**0.5)
    return model.eval().requires_grad_(False)


def mlp(sizes, seed: int = 0, activation=nn.ReLU) -> nn.Module:
    layers = [nn.Flatten()]
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), activation()]
    return randomised(nn.Sequential(*layers[:-1]), seed)


def images(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    """Pixels in [0, 1], a third of them at one of the ends."""
    values = torch.rand(count, *shape, generator=seeded(seed)) * 1.5 - 0.25
    return values.clamp(0, 1)


class Residual(nn.Module):
    """A block with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


class NearestPrototype(nn.Module):
    """Minus the squared distance to the nearest of several prototypes a class."""

    def __init__(self, prototypes: torch.Tensor, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("prototypes", prototypes)

    def forward(self, x):
        apart = x.flatten(1)[:, None] - self.prototypes
        distances = apart.square().sum(2)
        return -distances.view(len(x), self.classes, -1).amin(2)


def competitive(
    pixels: int, hidden: int, classes: int, temperature: float, seed: int = 0
) -> nn.Module:
    """A competitive code and its read-out, as the rules have them."""
    generator = seeded(seed)
    weight = torch.rand(hidden, pixels, generator=generator).square()
    threshold = 0.05 * torch.rand(hidden, generator=generator)
    readout = torch.rand(hidden, classes, generator=generator).square()
    code = CompetitiveCode(weight, threshold, temperature)
    return nn.Sequential(code, ExcitatoryReadout(readout, hidden / 10)).eval()


def softhebb_like(pixels: int, hidden: int, classes: int, seed: int = 0) -> nn.Module:
    """Weights of both signs, ``F.normalize``, and a read-out with a bias."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Linear(pixels, hidden, bias=False)
            self.readout = nn.Linear(hidden, classes)

        def forward(self, x):
            drive = self.code(F.normalize(x.flatten(1), dim=1))
            return self.readout(torch.softmax(drive / 0.1, 1))

    return randomised(Net(), seed, 3.0)


class Unit(nn.Module):
    """The flat image at length one, or almost."""

    def forward(self, x):
        flat = x.flatten(1)
        return flat / (flat.norm(dim=1, keepdim=True) + 1e-6)


def on_unit_images(pixels: int, hidden: int, classes: int, seed: int = 0) -> nn.Module:
    """Two layers on images of length one."""
    layers = [Unit(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return randomised(nn.Sequential(*layers), seed)


class Divided(nn.Module):
    """Inhibition that subtracts and divides, with weights that are never negative."""

    def __init__(self, pixels: int, hidden: int, classes: int, seed: int) -> None:
        super().__init__()
        generator = seeded(seed)
        self.excite = nn.Parameter(torch.rand(pixels, hidden, generator=generator))
        self.inhibit = nn.Parameter(torch.rand(pixels, hidden, generator=generator))
        self.gain = nn.Parameter(1 + torch.rand(hidden, generator=generator))
        self.readout = nn.Linear(hidden, classes)
        with torch.no_grad():
            self.readout.weight.copy_(torch.randn(classes, hidden, generator=generator))

    def forward(self, x):
        flat = x.flatten(1)
        inhibition = flat @ self.inhibit
        drive = self.gain / (inhibition + 0.1) * (flat @ self.excite - inhibition)
        return self.readout(F.relu(drive))


def divided(pixels: int, hidden: int, classes: int, seed: int = 0) -> nn.Module:
    """``Divided``, frozen."""
    return Divided(pixels, hidden, classes, seed).eval().requires_grad_(False)


def with_output(network: nn.Module, output: nn.Module) -> nn.Module:
    """A network with a function of its logits behind it."""
    return nn.Sequential(network, output).eval()


class PowerOfRelu(nn.Module):
    """max(z, 0)^3."""

    def forward(self, x):
        return F.relu(x).pow(3.0)


def conv(seed: int = 0, channels: int = 1, side: int = 6) -> nn.Module:
    """Odd sizes: a stride that leaves a row out, normalisation, max and average pooling."""
    network = nn.Sequential(
        nn.Conv2d(channels, 3, 3, stride=2, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, 2, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
    )
    with torch.no_grad():
        width = network(torch.zeros(2, channels, side, side)).shape[1]
    network.append(nn.Linear(width, 3))
    network = randomised(network, seed)
    norm = network[1]
    norm.running_mean.copy_(torch.randn(3, generator=seeded(seed)) / 5)
    norm.running_var.copy_(0.5 + torch.rand(3, generator=seeded(seed)))
    return network
