"""The README's example of a learner of one's own is run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_learner_in_the_readme_runs(tmp_path):
    code = next(block for block in blocks("python") if "class Pca" in block)
    suite = next(block for block in blocks("yaml") if "pca_learner:Pca" in block)
    (tmp_path / "pca_learner.py").write_text(code)
    (tmp_path / "mine.yaml").write_text(suite)
    command = [sys.executable, "-m", "harness.cli", "run", "mine.yaml", "--store", "store", "--set", "protocols.few.episodes=20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pca" in done.stdout and "pixels" in done.stdout


def test_every_file_and_command_that_the_readme_names_exists():
    root = Path(__file__).parent.parent
    ignored = (root / ".gitignore").read_text().split()  # what a run makes is named too, and is not there before it
    for path in re.findall(r"`((?:suites|tests|results|harness|baselines)/[\w./-]+)`", README):
        assert path in ignored or (root / path).exists(), path
    commands = set(re.findall(r"^harness ([a-z]+)", "\n".join(blocks("sh")), re.M))
    shown = subprocess.run([sys.executable, "-m", "harness.cli", "--help"], capture_output=True, text=True, check=True).stdout
    assert commands and all(re.search(rf"\b{command}\b", shown) for command in commands), commands
