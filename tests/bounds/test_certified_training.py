"""Certified training: the worst logits of a network, and a bracket that is narrow."""

from __future__ import annotations

import numpy as np
import pytest
import small
import torch

from harness.attacks.engine.sweep import sweep
from harness.attacks.pgd import PGD
from harness.bounds.prove import prove
from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng


def made(kind: str, shape=(1, 6, 6), classes: int = 3, **keys):
    return learners[kind](learners[kind].Config(**keys), shape, classes, Rng(0))


@pytest.mark.parametrize(
    "kind, keys",
    [
        ("mlp", {"hidden": [9, 7]}),
        ("mlp", {"hidden": 9, "non_negative": True}),
        ("cnn", {"filters": 2, "units": 8}),
        ("cnn", {"body": "conv4", "filters": 3}),
    ],
    ids=str,
)
def test_worst_logits_are_the_clean_ones_without_a_budget_and_bounds_with_one(kind, keys):
    learner = made(kind, **keys)
    points = small.images(6, 1, 6, 6)
    labels = torch.arange(6) % 3
    network = learner.classifier()
    clean = network(points)
    differences = clean - clean.gather(1, labels[:, None])
    at_zero = learner.worst_logits(points, points, labels, learner.tensors)
    torch.testing.assert_close(at_zero, differences, atol=1e-5, rtol=1e-5)
    low, high = (points - 0.1).clamp_min(0), (points + 0.1).clamp_max(1)
    worst = learner.worst_logits(low, high, labels, learner.tensors)
    for seed in range(20):
        near = low + (high - low) * torch.rand(points.shape, generator=small.seeded(seed)).round()
        logits = network(near)
        assert (logits - logits.gather(1, labels[:, None]) <= worst + 1e-5).all()


def stripes(count: int) -> Images:
    """Three classes of noisy 6 x 6 images: a bright block in one of three places."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    pixels = generator.integers(0, 90, (count, 1, 6, 6))
    for image, label in zip(pixels, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += generator.integers(30, 110, (2, 6))
    return Images(pixels.astype(np.uint8), labels, np.arange(count), 3)


def test_certified_training_closes_the_bracket_of_proven_and_attacked():
    train = stripes(600)
    points = train.tensor()[:90]
    labels = torch.from_numpy(train.labels[:90])
    widths = {}
    for eps in (0.0, 0.1):
        learner = made("mlp", hidden=30, epochs=20, batch_size=25, lr=3e-3, certified_eps=eps)
        learner.fit(train)
        network = learner.classifier()
        proven = prove(network, points, labels, 0.1).proven.numpy()
        attack = PGD.of(eps=[0.1], loss=["margin"], steps=20)
        attacked = sweep(network, points, labels, np.arange(90), attack, Rng(0)).worst[0]
        assert not (proven & ~attacked).any()
        widths[eps] = (attacked.mean() - proven.mean(), proven.mean())
    assert widths[0.1][0] < 0.12
    assert widths[0.0][0] > 0.25
    assert widths[0.1][1] > widths[0.0][1] + 0.2
