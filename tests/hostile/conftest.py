"""Stress and fault-injection tests: deselected by default, run by ``make hostile``.

The environment sets how much is done:

* ``HOSTILE_SUITES`` mutated suites,
* ``HOSTILE_KILLS`` kills of local runs at random moments,
* ``HOSTILE_RAY_KILLS`` of runs on a Ray cluster, their workers and nodes,
* ``HOSTILE_FLIPS`` damaged files of each kind,
* ``HOSTILE_RUNS`` runs at once on one store, at most.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # importlib mode does not find hostile_kit by itself

from hostile_kit import MATCHED, SUITE, undisturbed

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.hostile)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """An undisturbed run: (suite file, its store, its tables)."""
    return undisturbed(tmp_path_factory.mktemp("undisturbed"), SUITE)


@pytest.fixture(scope="session")
def matched(tmp_path_factory):
    """Another undisturbed run, with a match."""
    return undisturbed(tmp_path_factory.mktemp("matched"), MATCHED)
