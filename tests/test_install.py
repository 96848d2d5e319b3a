"""Which releases the set-up asks for."""

from __future__ import annotations

import importlib.util
import platform
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "third_party" / "install.py"


@pytest.fixture
def install():
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(install, monkeypatch, have: dict[str, str]) -> dict[str, str]:
    monkeypatch.setattr(install, "installed", lambda _, name: have.get(name))
    return dict(line.split("==") for line in install.constraints(Path("python")))


def test_without_a_torch_the_cpu_build_is_installed(install, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert pins(install, monkeypatch, {})["torch"] == "2.13.0+cpu"


def test_an_installed_torch_is_kept_with_its_torchvision(install, monkeypatch):
    kept = pins(install, monkeypatch, {"torch": "2.11.0+cu130", "torchvision": "0.26.0+cu130"})
    assert (kept["torch"], kept["torchvision"]) == ("2.11.0+cu130", "0.26.0+cu130")
    assert "torchvision" not in pins(install, monkeypatch, {"torch": "2.11.0+cu130"})
    assert pins(install, monkeypatch, {"torch": "2.13.0+cu130"})["torchvision"] == "0.28.0"


def requirements(*extras: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *optional]


def test_every_requirement_is_pinned(install):
    pinned = {name.lower() for name in install.tested()}
    for line in requirements("meta", "test", "dev", "notebooks", "wandb"):
        name = line.split(">=")[0].lower()
        assert name in pinned or name.startswith("bioharness[")


def test_the_lowest_releases_are_the_lower_bounds(install, monkeypatch):
    lowest = install.lowest()
    assert lowest["numpy"] == "1.26"
    assert len(lowest) == len(requirements("meta", "test"))
    monkeypatch.setattr(install, "installed", lambda _, name: None)
    assert f"numpy=={lowest['numpy']}" in install.constraints(Path("python"), lowest)


def test_pinned_releases_are_within_the_bounds(install):
    pinned = {name.lower(): version for name, version in install.tested().items()}
    for line in requirements("meta", "test", "dev", "notebooks", "wandb"):
        if ">=" in line:
            requirement = Requirement(line)
            assert requirement.specifier.contains(pinned[requirement.name.lower()]), line
