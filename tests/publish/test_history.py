"""Since when claims have their bounds: in a repository of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.publish.history import of_claims
from harness.suite.load import load

SUITE = """\
name: mine
seeds: [0]
learners:
  pixels: {{kind: nearest-mean}}
protocols:
  clean: {{kind: classification, dataset: mnist5k}}
  other: {{kind: classification, dataset: mnist5k, split: val}}
claims:
  - name: good
    claim: {wording}
    learner: pixels
    measures: [{{protocol: clean, at_least: {bound}}}]
  - name: also
    claim: it is
    learner: pixels
    measures: [{{protocol: other, at_least: 0.2}}]
"""


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.strip()


@pytest.fixture
def suite(tmp_path: Path):
    """Writes and commits a version of the suite; returns its commit."""
    git(tmp_path, "init", "-q")
    file = tmp_path / "mine.yaml"

    def version(bound: float, wording: str = "it is", *, commit: bool = True) -> str:
        file.write_text(SUITE.format(bound=bound, wording=wording), "utf-8")
        if not commit:
            return ""
        git(tmp_path, "add", "mine.yaml")
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", "a version")
        return git(tmp_path, "rev-parse", "--short=10", "HEAD")

    version.file = file
    return version


def record(protocol: str, created: str):
    return SimpleNamespace(protocol=protocol, created=created)


def commits(suite) -> dict[str, str]:
    return {name: each["commit"] for name, each in of_claims(load(suite.file), []).items()}


def test_a_bound_stands_since_the_commit_that_last_changed_it(suite):
    first, second = suite(0.5), suite(0.6)
    suite(0.6, wording="it is said to be")
    assert commits(suite) == {"good": second, "also": first}


def test_a_bound_that_comes_back_counts_from_its_return(suite):
    first = suite(0.5)
    suite(0.6)
    back = suite(0.5)
    assert commits(suite) == {"good": back, "also": first}


def test_a_change_that_was_not_committed_has_no_commit(suite):
    first = suite(0.5)
    suite(0.6, commit=False)
    assert commits(suite) == {"good": "", "also": first}


def test_outside_a_repository_nothing_is_known(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(SUITE.format(bound=0.5, wording="it is"), "utf-8")
    assert {each["commit"] for each in of_claims(load(file), []).values()} == {""}


def test_the_first_number_of_the_protocols_that_decide(suite):
    suite(0.5)
    records = [
        record("clean", "2026-01-03T00:00:00+00:00"),
        record("clean", "2026-01-02T00:00:00+00:00"),
        record("third", "2026-01-01T00:00:00+00:00"),
    ]
    history = of_claims(load(suite.file), records)
    assert history["good"]["measured"] == "2026-01-02T00:00:00+00:00"
    assert history["also"]["measured"] == ""
