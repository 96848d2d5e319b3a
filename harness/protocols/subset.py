"""A few images of a split, the same for every learner and every seed."""

from __future__ import annotations

import numpy as np

from harness.data.base import Images
from harness.rng import Rng


def subset(images: Images, number: int) -> Images:
    """Draw images with classes balanced, the same for every learner and every seed.

    Args:
        images: labelled images.
        number: how many to draw.

    Returns:
        the images, in the order of their dataset.
    """
    assert images.labels is not None
    rng = Rng(0).numpy("attack_sweep subset")
    order = rng.permutation(len(images))
    within = np.empty(len(images), np.int64)  # rank of each image within its class
    for label in np.unique(images.labels):
        members = order[images.labels[order] == label]
        within[members] = np.arange(len(members))
    tie = np.empty(len(images), np.int64)
    tie[order] = np.arange(len(images))
    return images.take(np.sort(np.lexsort((tie, within))[:number]))
