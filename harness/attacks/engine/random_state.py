"""Isolation of code that draws from, or reseeds, the global random generators."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator

import numpy as np

from harness.lazy import torch


@contextlib.contextmanager
def isolated_random_state(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and restore them afterwards.

    They are restored after an exception too. Anything printed inside is discarded.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=devices), contextlib.redirect_stdout(io.StringIO()):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
