"""Which torch the set-up asks for."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "third_party" / "install.py"


@pytest.fixture
def install():
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(install, monkeypatch, have: dict[str, str]) -> dict[str, str]:
    monkeypatch.setattr(install, "installed", lambda _, name: have.get(name))
    return dict(line.split("==") for line in install.constraints(Path("python")))


def test_without_a_torch_it_is_the_cpu_build_and_no_other(install, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert pins(install, monkeypatch, {})["torch"] == "2.13.0+cpu"


def test_a_torch_that_is_there_is_kept_with_its_torchvision(install, monkeypatch):
    kept = pins(install, monkeypatch, {"torch": "2.11.0+cu130", "torchvision": "0.26.0+cu130"})
    assert (kept["torch"], kept["torchvision"]) == ("2.11.0+cu130", "0.26.0+cu130")
    assert "torchvision" not in pins(install, monkeypatch, {"torch": "2.11.0+cu130"})
    assert pins(install, monkeypatch, {"torch": "2.13.0+cu130"})["torchvision"] == "0.28.0"


def test_every_requirement_is_pinned(install):
    import tomllib

    project = tomllib.loads((SCRIPT.parent.parent / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["meta"],
        *project["optional-dependencies"]["dev"],
    ]
    names = {
        line.split("==")[0].lower()
        for line in (SCRIPT.parent / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {word.split(">=")[0].lower() for word in wanted} <= names
