"""FlyModel: its code and its rule in numpy, and that no order of images matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.fly import Fly
from harness.data.base import Images
from harness.rng import Rng

KEYS = {"cells": 200, "inputs": 5, "active": 0.05}


def fly(**keys) -> Fly:
    return Fly(Fly.Config(**{**KEYS, **keys}), (1, 8, 8), 10, Rng(0))


@pytest.fixture
def noise() -> Images:
    """Images of noise: on digits of few grey levels many cells tie, and rounding decides."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    return Images(pixels, np.arange(40) % 10, np.arange(40), 10)


def code(one: Fly, images: np.ndarray) -> np.ndarray:
    """The Kenyon cells, cell by cell."""
    chosen = one.tensors["inputs"].numpy()
    flat = images.reshape(len(images), -1)
    low, high = flat.min(1, keepdims=True), flat.max(1, keepdims=True)
    drive = ((flat - low) / (high - low))[:, chosen].sum(2)
    threshold = np.sort(drive, axis=1)[:, [-10]]
    kept = np.where(drive >= threshold, drive, 0)
    return kept / kept.max(1, keepdims=True)


def test_kenyon_cells_sum_their_inputs_and_the_most_driven_stay(noise):
    one = fly()
    assert all(len({*row}) == 5 for row in one.tensors["inputs"].tolist()), "no input twice"
    images = noise.tensor()
    got = one.embed(images).numpy()
    np.testing.assert_allclose(got, code(one, images.double().numpy()), atol=1e-5)
    active = (got > 0).sum(1)
    assert (active >= 10).all() and np.median(active) == 10, "ties aside, the share of the config"


def test_an_image_changes_the_weights_to_its_class_alone(noise):
    one = fly(lr=0.6)
    part = noise.take(np.flatnonzero(noise.labels == 4))
    one.go_on(part)
    weight = one.tensors["weight"].numpy()
    expected = np.minimum(1, 0.6 * code(one, part.tensor().double().numpy()).sum(0))
    np.testing.assert_allclose(weight[:, 4], expected, atol=1e-5)
    assert weight.max() == 1, "some reach their bound"
    assert not np.delete(weight, 4, axis=1).any()


def test_the_order_of_images_and_of_tasks_changes_nothing(digits):
    train = digits[0].take(range(300))
    at_once = fly(lr=0.05)
    at_once.fit(train)
    for seed in (1, 2):
        one = fly(lr=0.05)
        order = np.random.default_rng(seed).permutation(300)
        for rows in np.array_split(order[np.argsort(train.labels[order], kind="stable")], 7):
            one.go_on(train.take(rows))
        torch.testing.assert_close(one.tensors["weight"], at_once.tensors["weight"])


def test_digits_are_told_apart_after_one_pass(digits):
    one = fly(cells=2000, lr=0.01)
    one.fit(digits[0])
    answers = one.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.8


def test_the_gradient_is_that_of_the_set_of_active_cells(digits):
    """Central differences, where the set of active cells does not change."""
    one = fly(lr=0.05)
    one.fit(digits[0].take(range(200)))
    module = one.classifier().double()
    x = digits[1].tensor()[:1].double()
    x = 0.2 + 0.6 * x + 0.01 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (slope,) = torch.autograd.grad(module(x)[0, 3], x)
    step = 1e-7 * torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    with torch.no_grad():
        numeric = (module(x + step)[:, 3] - module(x - step)[:, 3]) / 2e-7
    torch.testing.assert_close(slope.flatten(), numeric, rtol=1e-4, atol=1e-6)
