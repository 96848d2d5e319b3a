"""The tutorial works as it is written, and the site has every page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags are not wanted here."""


_Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def pages(nav):
    """All pages that a navigation names."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages(value)


def test_the_site_has_every_page_once():
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
    listed = list(pages(site["nav"]))
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    written |= {f"notebooks/{path.stem}.md" for path in (ROOT / "docs").glob("notebooks/*.ipynb")}
    assert set(listed) == written | {"index.md", "CONTRIBUTING.md", "SECURITY.md"}
    assert len(listed) == len(set(listed))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)


@pytest.mark.slow
def test_the_tutorial_works_as_written(tmp_path):
    def harness(line):
        words = line.partition("#")[0].split()
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    (method,) = blocks("python")
    (bar,) = blocks("yaml")
    commands = [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("harness ") and not line.startswith("harness doctor")
    ]
    for line in commands:
        ran = harness(line)
        assert ran.returncode == 0, line + ran.stderr
        if line == "harness run my_rule.yaml":
            rule = tmp_path / "my_rule.py"
            text = rule.read_text()
            start, end = text.index("    def _learn"), text.index("    def body")
            rule.write_text(text[:start] + method + "\n" + text[end:])
            with (tmp_path / "my_rule.yaml").open("a") as suite:
                suite.write(bar)
    assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    mkdocs = ROOT / ".venv-docs" / "bin" / "mkdocs"
    if not mkdocs.exists():
        pytest.skip("`make docs` has not installed mkdocs")
    command = [mkdocs, "build", "--strict", "-q", "-d", tmp_path]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
