"""Fixtures and settings of all tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

# importlib mode does not find ``command_kit`` by itself. The folder of all tests must not be on the
# path: its ``baselines`` would hide the package of that name.
sys.path.append(str(Path(__file__).parent / "kits"))

# Estimates of tests are not those of the user's earlier runs, and do not enter them.
os.environ["HARNESS_TIMES"] = ""

# Small networks run faster in two test processes of one thread than of two threads each.
torch.set_num_threads(1)

# A background job ignores Ctrl-C, and so do its children: tests that send one would wait forever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The data root, for tests of datasets that are not embedded; skips if there is none."""
    root = os.environ.get("HARNESS_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("HARNESS_DATA is not set: no data root")
    return Path(root)


@pytest.fixture
def write_suite(tmp_path: Path):
    """A function that writes the text of a suite to a file and returns its path."""

    def write(text: str, name: str = "suite.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
