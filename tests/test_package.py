"""The wheel contains everything it needs, and works in a new environment, from any folder."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = "from setuptools import build_meta; print(build_meta.{hook}({folder!r}))"


def copy_of_the_source(folder: Path) -> Path:
    """The files of the project, without products of builds and runs."""
    skip = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "*.png", "*.svg"
    )
    return shutil.copytree(ROOT, folder / "source", ignore=skip)


def built(hook: str, source: Path, folder: Path) -> Path:
    """Build a distribution as pip does."""
    code = BUILD.format(hook=hook, folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """(wheel, source distribution), both built from the present tree."""
    folder = tmp_path_factory.mktemp("distributions")
    source = copy_of_the_source(folder)
    return built("build_wheel", source, folder), built("build_sdist", source, folder)


def members(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_packages_and_every_suite(distributions):
    files = set()
    for package in ("harness", "baselines"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files.add(path.relative_to(ROOT).as_posix())
    suites = {
        f"harness/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "suites").rglob("*.yaml")
    }
    assert "harness/py.typed" in files
    assert "harness/suites/quickstart.yaml" in suites
    assert members(distributions[0]) == files | suites


@pytest.fixture(scope="module")
def metadata(distributions):
    """Name of a file of the wheel's metadata -> its text."""
    wheel = zipfile.ZipFile(distributions[0])
    return {
        name.partition(".dist-info/")[2]: wheel.read(name).decode()
        for name in wheel.namelist()
        if ".dist-info/" in name
    }


def test_licences_and_typing_are_declared(metadata):
    assert "License-Expression: MIT AND ISC" in metadata["METADATA"]
    assert "Typing :: Typed" in metadata["METADATA"]
    assert "MIT License" in metadata["licenses/LICENSE"]
    assert "licenses/harness/report/board/vendor/d3.LICENSE" in metadata


def test_the_command_is_an_entry_point(metadata):
    assert "harness = harness.cli:main" in metadata["entry_points.txt"]


def test_all_requirements_can_be_installed_from_an_index(metadata):
    required = [
        line
        for line in metadata["METADATA"].splitlines()
        if line.startswith("Requires-Dist") and "extra" not in line
    ]
    # learn2learn has no wheel, and pip cannot build its source distribution.
    assert not any("learn2learn" in line for line in required)
    assert not any("@" in line or "file:" in line for line in required)


def test_the_source_distribution_builds_the_same_wheel(distributions, tmp_path):
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        # Python has filters since 3.11.4.
        archive.extractall(
            tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
        )
    (source,) = tmp_path.iterdir()
    for part in (
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "tests/conftest.py",
        "third_party/learn2learn/backend.py",
        "docs/ci.md",
        "results/reference/ci.json",
    ):
        assert (source / part).is_file(), part
    again = built("build_wheel", source, tmp_path)
    assert contents(again) == contents(wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel."""
    archive = zipfile.ZipFile(wheel)
    return {name: archive.read(name) for name in members(wheel)}


def test_a_suite_goes_by_its_name_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness", "validate", "quickstart", "paper/claims"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": good: ") == 2


@pytest.mark.parametrize(
    ("shell", "answer"), [("bash", "validate"), ("zsh", '"validate"'), ("fish", "validate")]
)
def test_the_shell_completes_commands_and_suites(shell, answer):
    code = "import sys; sys.argv = ['harness']; from harness.cli import main; main()"

    def completed(words: str) -> str:
        env = {
            **os.environ,
            "_HARNESS_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
            "_TYPER_COMPLETE_ARGS": words,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        return subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        ).stdout

    assert answer in completed("harness val")
    assert "quickstart" in completed("harness run quick")


@pytest.fixture(scope="module")
def clean(distributions, tmp_path_factory):
    """A new environment with the wheel and no extras; pip chooses the other packages."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "third_party" / "install.py")
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    pins = folder / "constraints.txt"
    pins.write_text("\n".join(install.constraints(python)) + "\n")
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", pins, distributions[0]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("pip finds no packages here")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder / "venv")  # over a gigabyte


@pytest.mark.slow
def test_the_extras_can_be_installed_beside_the_pinned_set(clean, distributions):
    pip = [
        clean / "venv" / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--dry-run",
        "-c",
        clean / "constraints.txt",
    ]
    done = subprocess.run(
        [*pip, f"{distributions[0]}[dev,ray,parquet,s3]"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


SMALL = """
name: small
learners:
  pixels: {kind: nearest-mean}
  backprop: {kind: mlp, hidden: 16, epochs: 1}
  maml: {kind: maml}
protocols:
  plain: {kind: classification, dataset: mnist5k, learners: [pixels, backprop]}
  robust: {kind: attack_sweep, dataset: digits, images: 20, learners: [pixels],
           attacks: [{attack: torchattacks, name: FGSM, eps: [0.1]}]}
  few: {kind: few_shot, dataset: glyphs, shots: 1, queries: 5, episodes: 20}
"""


@pytest.mark.slow
def test_the_wheel_works_in_a_clean_environment_from_any_folder(clean):
    (clean / "elsewhere").mkdir()
    env = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HARNESS_DATA")
    }

    def harness(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [clean / "venv" / "bin" / "harness", *words],
            cwd=clean / "elsewhere",
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    doctor = harness("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    levels = {finding["name"]: finding["level"] for finding in json.loads(doctor.stdout)}
    assert levels["learn2learn"] == "WARN"
    assert levels["glyphs"] == levels["mnist5k"] == levels["releases"] == "PASS"

    assert "quickstart" in harness("list", "suites").stdout
    assert "ech-stack" in harness("list", "learners").stdout

    without_maml = "not in few: maml, because learn2learn is not installed"
    plan = harness("plan", "quickstart")
    assert plan.returncode == 0, plan.stderr
    assert without_maml in plan.stdout

    (clean / "elsewhere" / "small.yaml").write_text(SMALL)
    run = harness("run", "small.yaml")
    assert run.returncode == 0, run.stderr
    assert "0 failed" in run.stderr
    assert without_maml in run.stderr
    tables = clean / "elsewhere" / "results" / "runs" / "tables" / "small"
    written = {path.name for path in tables.iterdir()}
    expected = {"few.md", "few.tex", "robust.csv", "robust.png", "plain.json", "records.jsonl.gz"}
    assert expected <= written
