"""What the tests here share: ``runs_kit``, and one run that all others must agree with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # importlib mode does not find runs_kit by itself

from harness import api


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """An uninterrupted run with one local worker: (suite file, run)."""
    from runs_kit import SUITE

    folder = tmp_path_factory.mktemp("reference")
    path = folder / "small.yaml"
    path.write_text(SUITE)
    return path, api.run(path, store=folder / "store", workers=1)


@pytest.fixture
def going_wrong(write_suite, tmp_path):
    """Writes a suite of broken learners, named by their classes, and a sound one."""
    from runs_kit import WRONG

    def write(*classes: str, seeds: int = 1) -> Path:
        (tmp_path / "wrong.py").write_text(WRONG)
        wrong = "".join(f"  {name.lower()}: {{kind: 'wrong:{name}'}}\n" for name in classes)
        return write_suite(f"""
name: wrong
seeds: {list(range(seeds))}
learners:
{wrong}  pixels: {{kind: nearest-mean}}
protocols: {{plain: {{kind: classification, dataset: digits}}}}
""")

    return write
