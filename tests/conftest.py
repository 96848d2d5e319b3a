"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

# Two test processes of two threads each run small networks slower than one thread each.
torch.set_num_threads(1)

# A job in the background is deaf to Ctrl-C, and so is what it starts: tests that send one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The data root, for tests that need datasets that are not embedded; they skip without it."""
    root = os.environ.get("HARNESS_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("HARNESS_DATA is not set: no data root")
    return Path(root)


@pytest.fixture
def write_suite(tmp_path: Path):
    """Write a suite's text to a file and give its path."""

    def write(text: str, name: str = "suite.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
