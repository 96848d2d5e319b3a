"""Suites that were run once, for the tests of commands that read a store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# importlib mode does not find ``cli_kit`` by itself.
sys.path.append(str(Path(__file__).parent))

from cli_kit import SUITE, SWEPT
from command_kit import harness


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """The suite ``tiny.yaml`` and its ``store``: (folder, how the run ended)."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(SUITE)
    done = harness("run", folder / "tiny.yaml", "--store", folder / "store")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """Folder of ``swept.yaml``, one of whose attacks fails its trust checks, and its ``store``."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "swept.yaml").write_text(SWEPT)
    assert harness("run", folder / "swept.yaml", "--store", folder / "store").returncode == 0
    return folder
