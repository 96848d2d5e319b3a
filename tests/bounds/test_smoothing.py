"""Randomised smoothing against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import small
import torch
from scipy.stats import binomtest
from torch import nn

from harness.bounds.smoothing import ABSTAINED, smallest_probability, smoothed
from harness.rng import Rng


def linear() -> tuple[nn.Module, torch.Tensor, np.ndarray, np.ndarray]:
    """A linear network of two classes, and the exact distance of images to its boundary."""
    network = small.mlp([20, 2])
    points = small.images(30, 1, 4, 5)
    direction = (network[1].weight[0] - network[1].weight[1]).double()
    margin = points.flatten(1).double() @ direction + (network[1].bias[0] - network[1].bias[1])
    return network, points, (margin < 0).long().numpy(), (margin.abs() / direction.norm()).numpy()


def test_radii_of_a_linear_network_are_near_and_below_the_exact_distance():
    network, points, labels, distance = linear()
    proof = smoothed(network, points, np.arange(30), 0.3, Rng(0), draws=2000)
    certain = proof.classes != ABSTAINED
    assert certain.mean() > 0.7
    assert (proof.classes == labels)[certain].all()
    # The smoothed network is the network itself here, and its radius is the distance.
    reachable = np.minimum(distance, proof.largest)
    assert (proof.radius <= reachable).all()
    assert np.median((reachable - proof.radius)[certain]) < 0.1
    assert proof.accuracy(labels, 0.0) == certain.mean()


@pytest.mark.parametrize("hits", [1, 50, 99, 100])
def test_the_probability_is_the_one_sided_exact_bound(hits):
    test = binomtest(hits, 100, alternative="greater")
    expected = test.proportion_ci(confidence_level=0.999, method="exact").low
    assert smallest_probability(hits, 100, 0.001) == pytest.approx(expected, rel=1e-9)


def test_an_even_chance_abstains_and_counts_as_an_error():
    class Coin(nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1)[:, 0], -x.flatten(1)[:, 0]], 1)

    points = torch.zeros(40, 1, 2, 2)
    proof = smoothed(Coin(), points, np.arange(40), 0.5, Rng(0), draws=400, alpha=0.01)
    assert (proof.classes == ABSTAINED).mean() > 0.95
    assert proof.accuracy(np.zeros(40), 0.0) < 0.05


def test_noise_depends_on_the_image_alone():
    network, points, _, _ = linear()
    whole = smoothed(network, points, np.arange(30), 0.2, Rng(0), draws=200)
    part = smoothed(network, points[7:9], np.arange(7, 9), 0.2, Rng(0), draws=200, batch_size=33)
    assert np.array_equal(whole.radius[7:9], part.radius)


def test_no_radius_exceeds_the_one_of_unanimous_draws():
    network, points, _, _ = linear()
    network[1].bias[0] += 100
    proof = smoothed(network, points, np.arange(30), 0.25, Rng(0), draws=500)
    assert proof.radius == pytest.approx(proof.largest)
    assert proof.largest == pytest.approx(0.25 * 2.204, rel=1e-2)  # 0.001 ** (1 / 500)
