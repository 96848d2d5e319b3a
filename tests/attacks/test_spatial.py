"""Rotation and shift: the transformation, the grid, and what breaks at which budget."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import map_coordinates
from torch import nn

from harness.attacks.engine.sweep import sweep
from harness.attacks.spatial import Spatial, moved
from harness.attacks.trust.run import check
from harness.interactive.attack import attack as attack_tensors
from harness.protocols.attack_settings import AttackEntry
from harness.rng import Rng


def reference(image: np.ndarray, degrees: float, down: float, across: float) -> np.ndarray:
    """One channel (H, W), rotated and shifted by scipy in float64."""
    height, width = image.shape
    turn = math.radians(degrees)
    y, x = np.indices(image.shape) - np.array([height - 1, width - 1])[:, None, None] / 2
    y, x = y - down, x - across
    from_y = math.cos(turn) * y + math.sin(turn) * x
    from_x = math.cos(turn) * x - math.sin(turn) * y
    places = [from_y + (height - 1) / 2, from_x + (width - 1) / 2]
    return map_coordinates(image.astype(np.float64), places, order=1, mode="grid-constant")


@pytest.mark.parametrize("degrees, down, across", [(30, 0, 0), (0, 1.5, -2), (-17, 0.5, 3)])
def test_images_move_as_scipy_moves_them(degrees, down, across):
    image = torch.rand(1, 2, 9, 12, generator=torch.Generator().manual_seed(0))
    ours = moved(image, degrees, down, across)[0]
    for channel in range(2):
        theirs = reference(image[0, channel].numpy(), degrees, down, across)
        np.testing.assert_allclose(ours[channel].numpy(), theirs, atol=1e-5)


def dot(row: int, column: int) -> torch.Tensor:
    """A black image, 9 x 9, with one white pixel."""
    image = torch.zeros(1, 1, 9, 9)
    image[..., row, column] = 1
    return image


def detector(places: torch.Tensor) -> nn.Module:
    """Class 1 where an image has more than 0.9 in some places (1, 1, 9, 9); else class 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(81, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([torch.zeros(81), places.flatten()]))
        model[1].bias.copy_(torch.tensor([0.0, -0.9]))
    return model.eval()


def robust(model: nn.Module, image: torch.Tensor, **keys) -> list[bool]:
    labels = torch.zeros(1, dtype=torch.int64)
    found = sweep(model, image, labels, np.arange(1), Spatial.of(**keys), Rng(0))
    return found.worst[:, 0].tolist()


def test_a_shift_breaks_an_image_from_the_exact_distance_on():
    two_right = detector(dot(4, 6))
    grid = {"eps": [0, "1/3", "2/3", 1], "degrees": 0, "pixels": 3, "shifts": 7}
    assert robust(two_right, dot(4, 4), **grid) == [True, True, False, False]


def test_a_rotation_breaks_an_image_from_the_exact_angle_on():
    above = detector(dot(1, 4))  # a quarter turn from the right, counter-clockwise
    grid = {"eps": [0.25, 0.5, 1], "pixels": 0, "angles": 9}
    assert robust(above, dot(4, 7), degrees=90, **grid) == [True, True, False]
    assert robust(above, dot(4, 7), degrees=180, **grid) == [True, False, False]


def test_verdicts_are_those_of_every_transformation_tried_by_scipy(conv, digits):
    images, labels = digits.images[:24], digits.labels[:24]
    attack = Spatial.of(eps=[0, 0.5, 1], degrees=20, pixels=1, angles=5, shifts=5)
    found = sweep(conv, images, labels, np.arange(24), attack, Rng(0)).worst
    turns = np.linspace(-20, 20, 5)
    steps = np.linspace(-1, 1, 5)
    for row, eps in enumerate(attack.config.eps):
        withstood = np.ones(24, bool)
        for degrees, down, across in product(turns, steps, steps):
            if max(abs(degrees) / 20, abs(down), abs(across)) > eps:
                continue
            each = [reference(image[0].numpy(), degrees, down, across) for image in images]
            logits = conv(torch.tensor(np.stack(each), dtype=torch.float32)[:, None])
            withstood &= (logits.argmax(1) == labels).numpy()
        assert found[row].tolist() == withstood.tolist()
    assert found[0].sum() > found[1].sum() > found[2].sum()


def test_recorded_sizes_are_shares_of_the_largest_move_and_all_checks_pass(conv, digits):
    images, labels = digits.images[:64], digits.labels[:64]
    attack = Spatial.of(eps=[0, 0.5, 1], degrees=20, pixels=1, angles=5)
    rows = np.arange(64)
    found = sweep(conv, images, labels, rows, attack, Rng(0))
    broken = (found.correct == 0) & (np.array(found.eps) > 0)[:, None, None, None]
    assert set(found.norm[broken]) == {0.5, 1.0}
    report = check(conv, images, labels, rows, attack, Rng(0), found)
    levels = {each.name: each.level for each in report}
    assert levels.pop("upper bound: no gradient attack") == "WARN"
    assert levels["inside the budget and the box"] == "PASS"
    assert "FAIL" not in levels.values()


def test_other_limits_are_another_threat():
    def threat(**keys) -> str:
        return AttackEntry("a", Spatial.of(**keys).config).to_identity()["norm"]

    assert threat() == threat(angles=61) == "rotation 30 degrees, shift 3 px"
    assert threat(degrees=0) == "shift 3 px"
    assert threat(pixels=0) == "rotation 30 degrees"
    assert Spatial.of().label == "spatial"


def test_tensors_at_hand_get_sizes_in_units_of_eps():
    found = attack_tensors(
        detector(dot(4, 6)), dot(4, 4), [0], "spatial", eps=[0.5, 1], degrees=0, shifts=7
    )
    assert found.success.flatten().tolist() == [False, True]
    torch.testing.assert_close(found.distance[1], torch.tensor([2 / 3]))
    assert torch.equal(found.adversarial[1], moved(dot(4, 4), 0, 0, 2))


@pytest.mark.parametrize(
    "keys, place",
    [
        ({"angles": 30}, ("angles",)),
        ({"eps": [0, 2]}, ("eps", 1)),
        ({"degrees": 0, "pixels": 0}, ("degrees",)),
        ({"norm": "linf"}, ("norm",)),
        ({"eps": [0, 0.4, 1]}, ("shifts",)),
        ({"eps": [0.1], "angles": 5, "pixels": 0}, ("angles",)),
    ],
    ids=str,
)
def test_an_error_names_its_key(keys, place):
    with pytest.raises(ValidationError) as caught:
        Spatial.of(**keys)
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_a_shift_beyond_the_image_is_a_fault():
    (fault,) = Spatial.of(pixels=9).faults((1, 9, 12), 10)
    assert fault[0] == ("pixels",)
