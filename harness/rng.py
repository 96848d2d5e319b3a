"""All randomness comes from one function: ``(suite seed, purpose, index, ...) -> seed``.

No global random state is read or written. What is drawn depends only on its purpose, so a number
does not depend on the number of workers, the batch size, the order of work, or the device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.lazy import torch


def derive(seed: int, *purpose: str | int) -> int:
    """Hash a seed and a purpose into a 63-bit seed.

    >>> derive(0, "episode", 3) == derive(0, "episode", 3) != derive(0, "episode", 4)
    True
    """
    parts = [str(int(seed))]
    # The type is part of the text: purpose 3 and purpose "3" give different seeds.
    parts += [f"{type(part).__name__}:{part}" for part in purpose]
    text = "\x1f".join(parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Rng:
    """A node in the tree of random streams. It has no state: equal calls give equal generators.

    >>> a = Rng(0).child("learner").numpy("init").random()
    >>> a == Rng(0).child("learner").numpy("init").random()
    True
    """

    seed: int

    def child(self, *purpose: str | int) -> Rng:
        """Return the subtree for one purpose."""
        return Rng(derive(self.seed, *purpose))

    def numpy(self, *purpose: str | int) -> np.random.Generator:
        """Return a new numpy generator for one purpose."""
        return np.random.Generator(np.random.Philox(key=derive(self.seed, *purpose)))

    def torch(self, *purpose: str | int) -> torch.Generator:
        """Return a new torch generator on the CPU for one purpose.

        Draw on the CPU and move the result: every device then gets the same numbers.
        """
        return torch.Generator().manual_seed(derive(self.seed, *purpose))

    def per_sample_uniform(
        self, purpose: str, indices: Sequence[int] | np.ndarray, repeat: int, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Draw uniform noise in [-1, 1) that depends on each sample, not on its batch.

        Args:
            purpose: What the noise is for.
            indices: (B,) identities of the samples.
            repeat: Number of the repetition, e.g. of a restart.
            shape: Shape of one sample, e.g. (C, H, W).

        Returns:
            float32 (B, *shape).
        """
        size = math.prod(shape)
        key = derive(self.seed, purpose, repeat)
        noise = np.empty((len(indices), size), np.float32)
        for row, index in zip(noise, indices, strict=True):
            # The sample's identity is the high word of the counter, so streams never overlap.
            bits = np.random.Philox(key=key, counter=[0, 0, 0, int(index)])
            np.random.Generator(bits).random(out=row, dtype=np.float32)
        return (2.0 * noise - 1.0).reshape(len(indices), *shape)
