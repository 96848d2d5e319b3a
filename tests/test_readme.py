"""Examples on the pages run, and what README and docs name exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.suite import load as suite

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
NOT_THERE = {"results/runs", "results/runs/"}
"""Paths on pages that only a run creates; so are those with a ``NAME`` in them."""


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


def test_the_example_learner_runs(tmp_path):
    page = (ROOT / "docs" / "extending.md").read_text()
    code, *_ = blocks("python", page)
    (mine,) = blocks("yaml", page)
    (tmp_path / "pca_learner.py").write_text(code)
    (tmp_path / "mine.yaml").write_text(mine)
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
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "pca" in ended.stdout
    assert "pixels" in ended.stdout


def example(number: int) -> dict:
    """What a Python block of docs/extending.md defines."""
    code = blocks("python", (ROOT / "docs" / "extending.md").read_text())[number]
    names: dict = {}
    exec(compile(code, "extending.md", "exec", dont_inherit=True), names)
    return names


def test_the_example_of_bodies_is_a_config():
    keys = example(2)["Keys"].model_validate({"body": {"name": "resnet12", "drop": 0.1}})
    assert keys.body.name == "resnet12" and keys.body.keys == {"drop": 0.1}


def test_the_example_of_files_is_a_config(tmp_path):
    names = example(1)
    (tmp_path / "w.pt").write_bytes(b"weights")
    keys = names["Keys"].model_validate({"weights": str(tmp_path / "w.pt")})
    assert keys.weights.read_bytes() == b"weights" and keys.tables == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_link_on_a_page_exists(page):
    text = page.read_text()
    folders = "suites|tests|results|harness|baselines|docs|third_party"
    for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        places = (ROOT / path, page.parent / path)
        is_made = path in NOT_THERE or "NAME" in path
        assert is_made or any(place.exists() for place in places), path
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert re.match("https?://", link) or (page.parent / link).exists(), link


def test_every_page_can_be_reached_from_the_readme():
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {
        *re.findall(r"\]\(docs/([\w-]+\.md)\)", README)
    }


def test_every_command_on_a_page_exists():
    text = "\n".join(page.read_text() for page in PAGES)
    commands = set(re.findall(r"^harness ([a-z]+)", "\n".join(blocks("sh", text)), re.M))
    command = [sys.executable, "-m", "harness", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(commands) > 15
    for name in commands:
        assert re.search(rf"\b{name}\b", shown), name


def test_the_suite_in_the_readme_is_valid(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(next(block for block in blocks("yaml") if "attack_sweep" in block))
    assert {entry.name for entry in suite.load(path).protocols} == {"robust"}
