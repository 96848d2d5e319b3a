"""Fixtures that tests of baselines share."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from harness.data.base import Images


@pytest.fixture(scope="session")
def digits() -> tuple[Images, Images]:
    """Real 8x8 digits: 1,200 for training, 597 for testing."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 1, 8, 8) * 15.9).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(pixels))
    whole = Images(pixels[order], labels[order].astype(np.int64), np.arange(len(pixels)), 10)
    return whole.take(np.arange(1200)), whole.take(np.arange(1200, len(pixels)))
