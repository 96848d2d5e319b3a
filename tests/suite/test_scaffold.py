"""What ``harness new`` writes runs as it is, and it overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from harness import api
from harness.data.base import Images
from harness.errors import HarnessError
from harness.registry import learners
from harness.rng import Rng
from harness.suite import load as suite
from harness.suite import scaffold


@pytest.fixture
def noise() -> Images:
    """Some noise with two labels."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 1, 4, 4), np.uint8)
    return Images(pixels, np.arange(60) % 2, np.arange(60), 2)


SMALL = [f"protocols.{name}.dataset=digits" for name in ("clean", "robust", "few")] + [
    "protocols.robust.images=20",
    "protocols.few.episodes=10",
    "learners.backprop.epochs=1",
]


def test_a_new_suite_is_valid_and_small(tmp_path):
    (written,) = scaffold.suite(tmp_path / "mine.yaml")
    found = suite.load(written)
    assert found.name == "mine" and {entry.protocol.kind for entry in found.protocols} == {
        "attack_sweep",
        "few_shot",
    }
    assert all(
        entry.dataset.origin == "embedded" and not entry.skipped for entry in found.protocols
    )


def test_a_new_learner_runs_as_it_is_and_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "harness", "new", "learner", "sub/oja_rule.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (
        done.stdout.split() == ["sub/oja_rule.py", "sub/oja_rule.yaml"]
        and "harness run sub/oja_rule.yaml" in done.stderr
    )
    run = api.run("sub/oja_rule.yaml", store="store", sets=SMALL, workers=1)
    assert not run.outcome.failed
    values = {
        record.protocol: record.value for record in run.results.records if record.learner == "mine"
    }
    assert set(values) == {"clean", "robust", "few"} and values["clean"] > 0.6


def test_a_new_learner_counts_what_happens_in_training(tmp_path, monkeypatch, noise):
    scaffold.learner(tmp_path / "counting_rule.py")
    monkeypatch.syspath_prepend(tmp_path)
    cls = learners["counting_rule:CountingRule"]
    images = noise
    learner = cls(cls.Config(hidden=10, epochs=2, eta=1.0), images.shape, images.n_classes, Rng(0))
    moments = []
    learner.watch = lambda _, seen: moments.append(seen)
    summary = learner.fit(images).summary()
    assert summary["sign_changes"] > 0 and len(summary["rows"]) == 2
    assert summary["images_seen"] == 2 * len(images) == moments[-1]


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (scaffold.suite, "mine.yml", "must end in .yaml"),
        (scaffold.suite, "a b.yaml", "cannot be called 'a b'"),
        (scaffold.learner, "mine", "must end in .py"),
        (scaffold.learner, "My-rule.py", "lower-case letters"),
        (scaffold.learner, "json.py", "a module 'json' is installed"),
        (scaffold.suite, "there.yaml", "the file exists"),
        (scaffold.learner, "there.py", "the file exists"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is_written(tmp_path, make, name, says):
    (tmp_path / "there.yaml").write_text("kept")
    with pytest.raises(HarnessError, match=says):
        make(tmp_path / name)
    assert (
        os.listdir(tmp_path) == ["there.yaml"] and (tmp_path / "there.yaml").read_text() == "kept"
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("projects") / "Oja-net.2"
    scaffold.project(folder)
    return folder


def test_a_new_project_clears_its_own_bars(project):
    words = ["check", "suite.yaml", "--set", "protocols.robust.images=30", "--junit", "check.xml"]
    words += ["--set", "learners.backprop.epochs=1", "--workers", "1"]
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok   mine") == 2 and (project / "check.xml").exists()


def test_a_project_names_its_rule_after_itself(project):
    assert (project / "oja_net_2_rule.py").exists()
    text = (project / "suite.yaml").read_text()
    assert "oja_net_2_rule:OjaNet2Rule" in text and "name: Oja-net.2" in text


def test_no_file_of_a_project_has_a_gap_left(project):
    for path in project.rglob("*"):
        made = {"results", "__pycache__"} & {*path.parts}  # by tests that ran it
        if path.is_file() and not made and path.suffix != ".xml":
            text = path.read_text()
            assert not any(gap in text for gap in ("{name}", "{module}", "{cls}")), path


def test_the_workflow_of_a_project_runs_what_its_readme_says(project):
    workflow = yaml.safe_load((project / ".github/workflows/numbers.yml").read_text())
    runs = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    readme = (project / "README.md").read_text()
    assert all(command.partition(" --")[0] in readme for command in runs)


def test_a_project_overwrites_nothing(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept.txt").write_text("kept")
    for folder, says in [
        (tmp_path / "there", "no empty folder"),
        (tmp_path / "there" / "kept.txt", "no empty folder"),
        (tmp_path / "a b", "cannot be called 'a b'"),
    ]:
        with pytest.raises(HarnessError, match=says):
            scaffold.project(folder)
    assert os.listdir(tmp_path) == ["there"] and os.listdir(tmp_path / "there") == ["kept.txt"]
