"""A layer's drive beside sums over patches, its competition between places, and its pooling."""

from __future__ import annotations

import math

import pytest
import torch

from harness.learning.hebbian_stage import LayerConfig, Stage, between_places, patches_of


@pytest.fixture
def x() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 8, 6, generator=generator, dtype=torch.float64)


@pytest.fixture
def kernel() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("cosine", [False, True])
def test_the_drive_is_that_of_patches(x, kernel, cosine):
    patches = patches_of(x, 5)
    flat = kernel.flatten(1)
    expected = patches @ flat.T
    if cosine:
        expected = torch.cosine_similarity(patches[:, None], flat[None], dim=2)
    u = Stage(LayerConfig(), cosine).drive(x, kernel)
    torch.testing.assert_close(u.permute(0, 2, 3, 1).flatten(0, 2), expected)


def test_edges_are_reflected(x):
    patches = patches_of(x, 3).unflatten(0, (2, 8, 6))
    corner = patches[0, 0, 0].unflatten(0, (3, 3, 3))
    torch.testing.assert_close(corner[:, 0, 0], x[0, :, 1, 1])
    torch.testing.assert_close(corner[:, 1, 1], x[0, :, 0, 0])


def test_lateral_weights_are_one_in_the_middle_and_a_difference_of_gaussians():
    point = torch.zeros(1, 2, 9, 9)
    point[0, 0, 4, 4] = 1
    spread = between_places(point, 1.2, 1.3)
    assert spread[0, 1].abs().sum() == 0
    assert spread[0, 0, 4, 4] == pytest.approx(1)

    def difference(square: float) -> float:
        def gaussian(width: float) -> float:
            return math.exp(-square / 2 / width**2) / (2 * math.pi * width**2)

        return gaussian(1.2) - gaussian(1.3)

    assert spread[0, 0, 4, 6] == pytest.approx(difference(4) / difference(0), rel=1e-4)


@pytest.mark.parametrize(("size", "stride", "side"), [(4, 2, 4), (4, 4, 2), (2, 2, 4), (3, 1, 8)])
def test_pooled_maps_have_the_side_that_the_layer_says(size, stride, side):
    layer = LayerConfig(pool_size=size, stride=stride)
    assert layer.side(8) == side
    assert Stage(layer, False).answer(torch.rand(1, 3, 8, 8)).shape[-2:] == (side, side)


def test_the_activation_is_what_exceeds_the_mean_over_channels(x):
    layer = LayerConfig(power=0.7, pool_size=1, stride=1)
    x.requires_grad_()
    answer = Stage(layer, False).answer(x)
    above = (x - x.mean(1, keepdim=True)).clamp_min(0)
    torch.testing.assert_close(answer, above.pow(0.7), atol=1e-8, rtol=1e-6)
    (slope,) = torch.autograd.grad(answer.sum(), x)
    assert slope.isfinite().all()


def test_layers_that_cannot_be_are_refused():
    for keys in ({"kernel": 4}, {"pool_size": 3, "stride": 2}, {"lateral": [2.0, 1.0]}):
        with pytest.raises(ValueError, match="odd|larger by|narrower"):
            LayerConfig(**keys)
