"""The published sets of corruptions, and images corrupted by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.corrupted import cifar_10_c, mnist_c
from harness.data.corrupted.draws import Draws
from harness.data.corrupted.kinds import Kind
from harness.rng import Rng

CHUNK = 1024
"""Images corrupted at once; changes no value."""


@dataclass(frozen=True)
class CorruptionSet:
    """One published set.

    Attributes:
        kinds: name -> definition, in the published order.
        image_shape: (C, H, W) of the images that it is defined for.
        source: paper.
    """

    kinds: dict[str, Kind]
    image_shape: tuple[int, int, int]
    source: str


SETS = {
    "mnist-c": CorruptionSet(mnist_c.KINDS, (1, 28, 28), "Mu & Gilmer 2019"),
    "cifar-10-c": CorruptionSet(cifar_10_c.KINDS, (3, 32, 32), "Hendrycks & Dietterich 2019"),
}
"""Name -> set."""


def corrupted(
    pixels: np.ndarray, name: str, kind: str, severity: int, identity: np.ndarray, rng: Rng
) -> np.ndarray:
    """Corrupt images, and keep them in eight bits as the published files do.

    Args:
        pixels: uint8 (N, C, H, W).
        name: of the set.
        kind: one of its corruptions.
        severity: 1 to 5; a kind without severities ignores it.
        identity: int (N,), the identity of each image, to which its randomness belongs.
        rng: source of the randomness.

    Returns:
        uint8 (N, C, H, W); values are cut to whole grey levels, not rounded.
    """
    definition = SETS[name].kinds[kind]
    size = None if definition.sizes is None else definition.sizes[severity - 1]
    own = rng.child("corrupted", name, kind)
    result = np.empty_like(pixels)
    for start in range(0, len(pixels), CHUNK):
        rows = slice(start, start + CHUNK)
        values = pixels[rows].astype(np.float32) / 255
        values = definition.corrupting(values, size, Draws(identity[rows], own))
        # A whole grey level may come out a rounding below itself.
        result[rows] = np.floor(np.clip(values, 0, 1) * 255 + 1e-3).astype(np.uint8)
    return result
