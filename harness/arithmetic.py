"""How processors treat numbers below the smallest normal float32 (about 1e-38).

Soft winner-take-all codes, decayed weights and Adam's moments leave such subnormal numbers. They
change no result, and on some processors they make a matrix product many times as slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.lazy import torch

SUBNORMAL = 1e-40


@contextmanager
def flushed_subnormals() -> Iterator[bool]:
    """Compute with 0 instead of subnormal numbers, in this thread.

    Threads that are started within do so as well, among them those in which torch divides an
    operation. Threads that torch had started before do not.

    Yields:
        False if the processor cannot do that. Results are then equally right, and slower.
    """
    before = flushes()
    torch.set_flush_denormal(True)
    try:
        yield flushes()
    finally:
        torch.set_flush_denormal(before)


def flushes() -> bool:
    """Report whether this thread computes with 0 instead of subnormal numbers."""
    return not (torch.tensor(SUBNORMAL / 0.5) * 0.5).view(torch.int32).item()
