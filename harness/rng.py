"""All randomness, from one function: ``(suite seed, purpose, index ...) -> seed``.

No global random state is read or written anywhere. What is drawn depends only on what it is drawn *for*, so a number
is the same whatever the number of workers, the batch size, the order of work, or the device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.lazy import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that is a hash of ``seed`` and of what the randomness is for.

    >>> derive(0, "episode", 3) == derive(0, "episode", 3) != derive(0, "episode", 4)
    True
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(p).__name__}:{p}" for p in purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Rng:
    """A place in the tree of randomness. It has no state: the same call gives the same generator again.

    >>> a = Rng(0).child("learner").numpy("init").random()
    >>> a == Rng(0).child("learner").numpy("init").random()
    True
    """

    seed: int

    def child(self, *purpose: str | int) -> Rng:
        """The sub-tree for one purpose."""
        return Rng(derive(self.seed, *purpose))

    def numpy(self, *purpose: str | int) -> np.random.Generator:
        """A fresh numpy generator for one purpose."""
        return np.random.Generator(np.random.Philox(key=derive(self.seed, *purpose)))

    def torch(self, *purpose: str | int) -> torch.Generator:
        """A fresh CPU torch generator for one purpose. Draw on the CPU and move: every device then sees the same."""
        return torch.Generator().manual_seed(derive(self.seed, *purpose))

    def per_sample_uniform(
        self, purpose: str, indices: Sequence[int], repeat: int, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform noise in [-1, 1) that belongs to the sample, not to the batch it happens to be in.

        Args:
            indices: (B,) each sample's identity.
            repeat: which repetition (a restart, say).
            shape: shape of one sample, e.g. (C, H, W).

        Returns:
            float32 (B, *shape).
        """
        size, key = math.prod(shape), derive(self.seed, purpose, repeat)
        noise = np.empty((len(indices), size), np.float32)
        for row, index in zip(noise, indices, strict=True):
            # The sample's identity is the high word of the counter: streams of different samples never meet.
            np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, int(index)])).random(
                out=row, dtype=np.float32
            )
        return (2.0 * noise - 1.0).reshape(len(indices), *shape)
