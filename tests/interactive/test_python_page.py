"""The code of docs/python.md runs as a notebook does: in order, in ``__main__``, without a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text()


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The output of the page's code, which came through a pipe, and the folder that it ran in."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.S))
    folder = tmp_path_factory.mktemp("session")
    ended = subprocess.run(
        [sys.executable, "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended, folder


def test_the_code_of_the_page_runs(session):
    ended, folder = session
    for printed in ("evaluate: robust (accuracy, %)", "Attacked 8 images: 100.0 % correct, "):
        assert printed in ended.stdout
    assert "unknown attack 'pdg'" in ended.stdout and "did you mean 'pgd'" in ended.stdout
    assert (folder / "site" / "index.html").is_file()


def test_a_learner_that_only_a_notebook_has_is_measured(session):
    ended, _ = session
    few = ended.stdout.partition("notebook: few")[2]
    assert re.search(r"mine +\*?\d\d\.\d", few)
    assert re.search(r"\[\d/\d\] .* mine · few", ended.stderr)


def test_progress_is_plain_text_where_there_is_no_terminal(session):
    ended, _ = session
    assert "\x1b" not in ended.stderr + ended.stdout
    assert "Warning" not in ended.stderr
