from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.data import install
from harness.data.cache import cache_folder
from harness.registry import datasets


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """The user's cache: its copies are built again when their code, data or libraries change."""
    return cache_folder() or tmp_path_factory.mktemp("cache")


@pytest.fixture
def unchecked(monkeypatch):
    """For tests of how files travel: what is imported need not be a whole dataset."""
    monkeypatch.setattr(install, "check_whole", lambda *_: "")


@pytest.fixture
def make():
    """``make(name, **switches)`` creates a dataset, or skips the test if it needs a data root."""

    def build(name, **switches):
        root = os.environ.get("HARNESS_DATA")
        if datasets[name].origin == "data root" and root is None:
            pytest.skip("HARNESS_DATA is not set")
        return datasets[name](datasets[name].Config(**switches), Path(root) if root else None)

    return build
