"""The read-out of random features if images hardly differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.base import Images
from harness.learning.learner import Budget
from harness.registry import learners
from harness.rng import Rng


@pytest.mark.parametrize(("budget", "identical"), [(1, False), (5, True)])
def test_from_images_that_do_not_differ_it_learns_how_frequent_the_classes_are(budget, identical):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 1, 4, 4)).astype(np.uint8)
    if identical:
        pixels[:] = pixels[0]
    train = Images(pixels, np.arange(30) % 3, np.arange(30), 3)
    cls = learners["random-features"]
    learner = cls(cls.Config(width=20), train.shape, 3, Rng(0))
    assert learner.fit(train, budget=Budget(budget)).images_seen == budget
    logits = learner.classifier()(train.tensor())
    counts = np.array(sorted([1, 0, 0] if budget == 1 else [2, 2, 1]))
    expected = torch.from_numpy(8 * counts / budget).float().expand(30, 3)
    torch.testing.assert_close(logits.sort(1).values, expected, rtol=0, atol=1e-3)
