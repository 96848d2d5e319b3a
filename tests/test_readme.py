"""The README's example of a learner of one's own is run as it stands; what README and docs name exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.suite import load as suite

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_learner_in_the_readme_runs(tmp_path):
    code = next(block for block in blocks("python") if "class Pca" in block)
    suite = next(block for block in blocks("yaml") if "pca_learner:Pca" in block)
    (tmp_path / "pca_learner.py").write_text(code)
    (tmp_path / "mine.yaml").write_text(suite)
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "mine.yaml",
        "--store",
        "store",
        "--set",
        "protocols.few.episodes=20",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pca" in done.stdout and "pixels" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_link_on_a_page_is_there(page):
    text = page.read_text()
    made = (
        "results/runs",
        "results/runs/",
        "results/reference/NAME.json",
        "results/tables/NAME",
    )  # what runs make
    for path in re.findall(r"`((?:suites|tests|results|harness|baselines|docs)/[\w./-]+)`", text):
        assert path in made or (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert re.match("https?://", link) or (page.parent / link).exists(), link


def test_every_page_can_be_reached_from_the_readme():
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {
        *re.findall(r"\]\(docs/([\w-]+\.md)\)", README)
    }


def test_every_command_that_the_readme_names_exists():
    commands = set(re.findall(r"^harness ([a-z]+)", "\n".join(blocks("sh")), re.M))
    shown = subprocess.run(
        [sys.executable, "-m", "harness", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert commands and all(re.search(rf"\b{command}\b", shown) for command in commands), commands


def test_the_suite_in_the_readme_is_valid(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(next(block for block in blocks("yaml") if "attack_sweep" in block))
    assert {entry.name for entry in suite.load(path).protocols} == {"robust", "few"}
