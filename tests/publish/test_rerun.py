"""A submission can be measured again by anyone who has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forge import forged
from typer.testing import CliRunner

from harness import api
from harness.cells import plan as planning
from harness.cli import app
from harness.errors import HarnessError
from harness.execute.session import RunOptions
from harness.publish import rerun, submission
from harness.storage.store import Store

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, zzz: {kind: random-features, width: 77}}
protocols:
  clean: {kind: classification, dataset: digits}
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """An honest submission."""
    folder = tmp_path_factory.mktemp("honest")
    suite, path = folder / "tiny.yaml", folder / "honest.zip"
    suite.write_text(SUITE)
    api.run(suite, store=folder / "store", workers=1)
    text = submission.suite_text(suite)
    submission.pack(api.plan(suite), Store(folder / "store"), text, path)
    return path


def test_an_honest_submission_agrees_exactly_where_it_was_made(honest):
    checked = rerun.rerun(honest, RunOptions(workers=1), cells=5)
    assert [cell.agrees for cell in checked] == ["exactly", "exactly"]


def worse(by: int):
    """Make so many more verdicts wrong, in the arrays and in the value."""

    def verdicts(held: dict[str, np.ndarray]) -> None:
        right = np.flatnonzero(held["correct"])
        held["correct"] = held["correct"].copy()
        held["correct"][right[:by]] = 0

    def values(own: list[dict]) -> None:
        own[0]["value"] -= by / own[0]["n"]

    return {"verdicts": verdicts, "values": values}


@pytest.mark.parametrize(("by", "agrees"), [(1, "within the interval"), (30, "no")])
def test_other_verdicts_agree_only_within_the_interval(honest, tmp_path, by, agrees):
    cheat = forged(honest, tmp_path / "cheat.zip", learner="zzz", suite=True, **worse(by))
    (checked,) = rerun.rerun(cheat, RunOptions(workers=1))
    assert checked.agrees == agrees and "submitted" in checked.why


def test_the_command_fails_and_names_the_cell(honest, tmp_path):
    cheat = forged(honest, tmp_path / "cheat.zip", learner="zzz", suite=True, **worse(30))
    done = CliRunner().invoke(app, ["verify", str(cheat), "--workers", "1"])
    assert done.exit_code == 1 and "zzz · clean · seed 0: does not agree: accuracy" in done.stdout
    assert "running the suite" in done.stderr


@pytest.mark.parametrize(
    "keys",
    [
        "kind: 'evil:Mine'",
        "kind: network, module: 'evil:Mine'",
        "kind: network, module: 'os:system', arguments: {command: 'touch evil'}",
        f"kind: network, file: '{__file__}', trust_pickle: true",
    ],
    ids=["learner", "network", "function", "pickle"],
)
def test_modules_that_its_suite_names_are_not_imported_unless_asked(
    honest, tmp_path, monkeypatch, keys
):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = SUITE.replace("kind: nearest-mean", keys)
    cheat = forged(honest, tmp_path / "cheat.zip", learner="zzz", suite=text)
    with pytest.raises(HarnessError, match="plugin") as caught:
        rerun.rerun(cheat, RunOptions(workers=1))
    assert "--plugins" in str(caught.value)


MATCHED = """
name: matched
defaults: {learners: {mlp: {hidden: 16, epochs: 1}}}
learners:
  plain: {kind: mlp}
  pruned: {kind: mlp, match: {density: 0.5, vary: density}}
  chained: {kind: mlp, match: {density: pruned, vary: density}}
budget: {images: 50}
protocols:
  clean: {kind: classification, dataset: digits}
"""


@pytest.fixture(scope="module")
def matched(tmp_path_factory) -> Path:
    """An honest submission of learners that are matched."""
    folder = tmp_path_factory.mktemp("matched")
    suite, path = folder / "matched.yaml", folder / "matched.zip"
    suite.write_text(MATCHED)
    ran = api.run(suite, store=folder / "store", workers=1)
    submission.pack(ran.plan, Store(folder / "store"), submission.suite_text(suite), path)
    return path


def test_what_is_behind_a_match_is_measured_again_with_its_choice(matched):
    checked = rerun.rerun(matched, RunOptions(workers=1), cells=5)
    assert {cell.title.split()[0] for cell in checked} == {"plain", "pruned", "chained"}
    assert [cell.agrees for cell in checked] == ["exactly"] * 3


def test_what_is_behind_a_match_of_other_code_is_not_verified(matched, monkeypatch):
    monkeypatch.setattr(planning, "versions", lambda: {"torch": "another"})  # other keys
    done = CliRunner().invoke(app, ["verify", str(matched), "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert "plain · clean · seed 0: agrees exactly" in done.stdout
    assert "pruned · clean · seed 0: not verified: its match was made by other code" in done.stdout
