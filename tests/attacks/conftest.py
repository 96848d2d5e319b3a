"""Networks small enough to attack in a test, trained on real digits."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

sys.path.append(
    str(Path(__file__).parent)
)  # for ``flaws`` and ``honest``, which importlib mode does not find by itself


@pytest.fixture(scope="session")
def digits():
    """640 training and 320 test images, float32 (N, 1, 8, 8) in [0, 1]."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = torch.tensor(raw.images, dtype=torch.float32).div(16)[:, None]
    labels = torch.tensor(raw.target, dtype=torch.int64)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return SimpleNamespace(
        train=(images[:1200], labels[:1200]), images=images[1200:1520], labels=labels[1200:1520]
    )


def _train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            bound = 1 / max(1, parameter[0].numel()) ** 0.5
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(12):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
    model.zero_grad(set_to_none=True)
    return model.eval()


@pytest.fixture(scope="session")
def mlp(digits):
    """64-64-10."""
    return _train(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), *digits.train
    )


@pytest.fixture(scope="session")
def conv(digits):
    """Two convolutions and a read-out."""
    return _train(
        nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 10),
        ),
        *digits.train,
    )


@pytest.fixture(params=["mlp", "conv"])
def network(request):
    """Each of the two."""
    return request.getfixturevalue(request.param)


def build(kind: str, **keys):
    """An attack from its name and keys."""
    from harness.registry import attacks

    cls = attacks[kind]
    return cls(cls.Config.model_validate({"attack": kind, **keys}))


@pytest.fixture(scope="session")
def attack():
    """``attack("pgd", eps=[0.1])``: an attack from its name and keys."""
    return build
