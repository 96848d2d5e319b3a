"""Running code that draws from, or resets, the global random states: it sees its own, and ours are as before."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator

import numpy as np

from harness.lazy import torch


@contextlib.contextmanager
def sealed(seed: int) -> Iterator[None]:
    """Global random states of torch (every device), numpy and Python are seeded inside and put back outside.

    Printing goes nowhere. The states come back after an exception too.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices), contextlib.redirect_stdout(io.StringIO()):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)
