"""Results that every export writes: those of a committed folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execute.session import RunOptions
from harness.publish import reading
from harness.publish.exports.numbers import by_learner

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def quickstart():
    """Results with attacks, episodes and biology."""
    return reading.results(ROOT / "results" / "quickstart", RunOptions())


@pytest.fixture(scope="session")
def numbers(quickstart):
    """The numbers of each learner of them."""
    return by_learner(quickstart)
