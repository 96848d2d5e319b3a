"""Controls of learning in sequence reach their published numbers, or ours of before (slow)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.batching import in_batches
from harness.data import acquire
from harness.data.base import Loaded
from harness.learning.learner import Learner
from harness.registry import datasets, learners
from harness.rng import Rng

PUBLISHED_FLY = [0.969, 0.906, 0.896, 0.903, 0.853]
"""FlyModel on split MNIST, digits in order, accuracy on each task after all; arXiv 2303.11934."""


def loaded(name: str, root: Path | None = None) -> Loaded:
    cls = datasets[name]
    return acquire.load(cls(cls.Config(), root))[0]


def of_tasks(learner: Learner, data: Loaded, order: np.ndarray, passes: int = 1) -> np.ndarray:
    """Accuracy on each of five tasks of two classes, after all of them came in turn."""
    train, test = (data.split("standard", split) for split in ("train", "test"))
    for classes in order.reshape(5, 2):
        part = train.take(np.flatnonzero(np.isin(train.labels, classes)))
        for _ in range(passes):
            learner.go_on(part)
        learner.settle(part)
    with torch.no_grad():
        logits = in_batches(learner.classifier(), test.tensor(), batch_size=512)
    right = logits.argmax(1).numpy() == test.labels
    return np.array([right[np.isin(test.labels, pair)].mean() for pair in order.reshape(5, 2)])


def untrained(kind: str, **keys) -> Learner:
    cls = learners[kind]
    return cls(cls.Config(**keys), (1, 28, 28), 10, Rng(0))


@pytest.mark.slow
def test_fly_forgets_as_little_as_published():
    root = os.environ.get("HARNESS_DATA")
    if not root or not (Path(root) / "mnist").exists():
        pytest.skip("MNIST is not in HARNESS_DATA")
    ours = of_tasks(untrained("fly", lr=0.01), loaded("mnist", Path(root)), np.arange(10))
    assert abs(ours.mean() - np.mean(PUBLISHED_FLY)) < 0.03
    assert np.abs(ours - PUBLISHED_FLY).max() < 0.06


BANDS = {
    "slda": ("streaming-head", {}, 1, 0.914, 0.02),
    "slda of pixels": ("streaming-head", {"units": 0}, 1, 0.848, 0.02),
    "means of random features": ("streaming-head", {"readout": "nearest-mean"}, 1, 0.778, 0.02),
    "fly": ("fly", {}, 1, 0.768, 0.03),
    "ech": ("ech", {}, 15, 0.714, 0.05),
    "ech without metaplasticity": (
        "ech",
        {"metaplasticity": 0.0, "steady_homeostasis": 0.3},
        15,
        0.513,
        0.08,
    ),
    "prototypes": ("prototypes", {}, 15, 0.811, 0.03),
}
"""Learner, keys, passes, accuracy after five tasks of two embedded digits, and how far it may be.

Means of five orders by ``suites/continual/controls.yaml``; the learners without a random start have
the same in every order."""


@pytest.mark.slow
@pytest.mark.parametrize("name", BANDS)
def test_accuracy_after_five_tasks_is_within_its_band(name):
    kind, keys, passes, expected, spread = BANDS[name]
    data = loaded("mnist5k")
    order = np.random.default_rng(0).permutation(10)
    ours = of_tasks(untrained(kind, **keys), data, order, passes).mean()
    assert abs(ours - expected) < spread
