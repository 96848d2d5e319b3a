"""Square patches: exact on linear networks, and against every single pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness.attacks.engine.sweep import sweep
from harness.attacks.patch import Patch, extent
from harness.attacks.trust.run import check
from harness.rng import Rng


def linear() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Two classes, and 60 images of two channels, 6 x 7, that are all classified correctly."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(84, 2)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(2, 84, generator=generator))
        model[1].bias.copy_(-model[1].weight.sum(1) / 2)
    images = torch.rand(60, 2, 6, 7, generator=generator)
    return model, images, model(images).argmax(1)


def exact(model, images, labels, side: int) -> np.ndarray:
    """Whether no patch breaks an image: a linear margin falls most at the ends of the box."""
    weight, bias = model[1].weight.detach().double(), model[1].bias.detach().double()
    rises = (weight[labels] - weight[1 - labels]).view(-1, 2, 6, 7)
    pixels = images.double()
    margin = (rises * pixels).sum((1, 2, 3)) + bias[labels] - bias[1 - labels]
    falls = (rises.abs() * torch.where(rises > 0, pixels, 1 - pixels)).sum(1)
    windows = falls.unfold(1, side, 1).unfold(2, side, 1).sum((3, 4))
    return (margin > windows.amax((1, 2))).numpy()


def test_verdicts_on_a_linear_network_are_exact():
    model, images, labels = linear()
    attack = Patch.of(eps=[0, 1, 2], stride=1, steps=2)
    found = sweep(model, images, labels, np.arange(60), attack, Rng(0)).worst
    assert found[0].all()
    for row, side in enumerate([1, 2], 1):
        assert found[row].tolist() == exact(model, images, labels, side).tolist()
    assert 60 > found[1].sum() > found[2].sum() > 0


def test_a_single_pixel_is_at_least_as_strong_as_every_place_and_grey_level(mlp, digits):
    images, labels = digits.images[:24], digits.labels[:24]
    withstood = (mlp(images).argmax(1) == labels).numpy()
    for place in range(64):
        for grey in np.linspace(0, 1, 9):
            tried = images.flatten(1).clone()
            tried[:, place] = grey
            withstood &= (mlp(tried.view_as(images)).argmax(1) == labels).numpy()
    attack = Patch.of(eps=[1], stride=1, places=16, steps=10)
    found = sweep(mlp, images, labels, np.arange(24), attack, Rng(0))
    assert found.clean.sum() > withstood.sum()
    assert not (found.worst[0] & ~withstood).any()


def test_perturbations_fit_into_the_square_and_the_checks_do_not_fail(conv, digits):
    images, labels = digits.images[:64], digits.labels[:64]
    attack = Patch.of(eps=[0, 1, 2], steps=10)
    rows = np.arange(64)
    found = sweep(conv, images, labels, rows, attack, Rng(0))
    assert found.clean.sum() > found.worst[1].sum() > found.worst[2].sum()
    report = {
        each.name: each.level for each in check(conv, images, labels, rows, attack, Rng(0), found)
    }
    assert report["inside the budget and the box"] == "PASS"
    assert "FAIL" not in report.values()


class GreyDetector(nn.Module):
    """Class 1 if the middle pixel of 5 x 5 is within 0.1 of 0.55; else class 0."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        distance = (images[:, 0, 2, 2] - 0.55).abs()
        return torch.stack([distance, torch.full_like(distance, 0.1)], 1)


def test_content_between_black_and_white_is_reached_by_climbing():
    black = torch.zeros(1, 1, 5, 5)
    labels = torch.zeros(1, dtype=torch.int64)

    def robust(steps: int) -> bool:
        attack = Patch.of(eps=[1], places=1, steps=steps)
        return bool(sweep(GreyDetector(), black, labels, np.arange(1), attack, Rng(0)).worst[0, 0])

    assert robust(steps=1) and not robust(steps=20)


def test_the_extent_covers_all_that_differs():
    difference = torch.zeros(3, 2, 6, 6)
    difference[1, 0, 0, 0] = difference[1, 1, 3, 1] = 0.1
    difference[2, 0, 2, 2] = -0.1
    assert extent(difference).tolist() == [0, 4, 1]


def test_sides_are_whole_numbers_that_fit_into_the_image():
    with pytest.raises(ValidationError) as caught:
        Patch.of(eps=[1, 2.5])
    assert [error["loc"] for error in caught.value.errors()] == [("eps", 1)]
    (fault,) = Patch.of(eps=[2, 9]).faults((1, 8, 9), 10)
    assert fault[0] == ("eps", 1)
