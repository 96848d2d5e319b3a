"""A board cannot be cheated by arithmetic: every forgery is one line, and the others stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forge import forged
from typer.testing import CliRunner

from harness import api
from harness.cli import app
from harness.publish import leaderboard, submission
from harness.report.tables import build_all
from harness.storage.store import Store

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  robust: {kind: attack_sweep, dataset: digits, images: 40, trust: false,
           attacks: [{attack: pgd, eps: [0, 0.1], steps: 3}, {attack: fgsm, eps: [0, 0.1]}]}
  clean: {kind: classification, dataset: digits}
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """An honest submission."""
    folder = tmp_path_factory.mktemp("honest")
    suite, store, path = folder / "tiny.yaml", folder / "store", folder / "honest.zip"
    suite.write_text(SUITE)
    api.run(suite, store=store, workers=1)
    submission.pack(api.plan(suite), Store(store), submission.suite_text(suite), path)
    return path


def board(*sources: Path) -> tuple[set[str], str]:
    """Learners on the board, and the refusals, one a line."""
    gathered = leaderboard.gather(sources)
    (division,) = gathered.divisions
    learners = {record.learner for record in division.results.records}
    return learners, "\n".join(map(str, gathered.refused))


def of_clean(change):
    """Apply a change to what has the accuracy of single images."""

    def apply(values):
        for value in values:
            if value["verdicts"] == "correct":
                change(value)

    return apply


def one_verdict(held: dict[str, np.ndarray]) -> None:
    for name in ("correct", "index"):
        if name in held:
            held[name] = held[name][:1] * 0 + 1


def fives(held: dict[str, np.ndarray]) -> None:
    if "correct" in held:
        held["correct"] = np.full(len(held["correct"]), 5.0)


def reversed_order(held: dict[str, np.ndarray]) -> None:
    held["index"] = held["index"][::-1].copy()


def fewer_steps(identity: dict) -> None:
    config = identity.get("setting", {}).get("config", {})
    if "steps" in config:
        config["steps"] = 1


def another_loss(identity: dict) -> None:
    config = identity.get("setting", {}).get("config", {})
    if "random_start" in config:
        config["random_start"] = not config["random_start"]


FORGERIES = {
    "one verdict": (
        {
            "values": of_clean(lambda value: value.update(value=1.0, n=1)),
            "verdicts": one_verdict,
        },
        "over 1 samples, but the protocol block says 360",
    ),
    "verdicts of five": (
        {
            "values": of_clean(lambda value: value.update(value=5.0, low=4.9, high=5.1)),
            "verdicts": fives,
        },
        "accuracy 5 is not a share",
    ),
    "verdicts out of range": ({"verdicts": fives}, "verdicts out of range behind accuracy"),
    "no verdicts": (
        {"values": of_clean(lambda value: value.update(value=0.99, verdicts=None))},
        "no verdicts behind accuracy",
    ),
    "fewer steps": ({"identity": fewer_steps}, "steps 1, but the protocol block says 3 steps"),
    "another key of the attack": (
        {"identity": another_loss},
        "not comparable: set differently, board -> row: config.random_start",
    ),
    "another order of images": (
        {"verdicts": reversed_order},
        "not comparable: other samples than the board's, or in another order",
    ),
    "a seed that is not planned": (
        {"identity": lambda identity: identity.update(seed=77)},
        "has seed 77, but robust has 0",
    ),
    "a seed that nobody else has": (
        {"identity": lambda identity: identity.update(seed=77), "seeds": [77]},
        "not comparable: seeds 77, the board's are 0",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_a_line_that_says_why_and_the_others_stay(honest, tmp_path, name):
    changes, why = FORGERIES[name]
    cheat = forged(honest, tmp_path / "cheat.zip", **changes)
    learners, refused = board(honest, cheat)
    assert why in refused and refused.startswith("cheat: "), refused
    assert {"pixels", "random"} <= learners


def test_without_a_forgery_the_same_row_joins(honest, tmp_path):
    """So that the refusals above are for what was forged."""
    learners, refused = board(honest, forged(honest, tmp_path / "fair.zip"))
    assert learners == {"pixels", "random", "zzz"} and refused == ""


def test_intervals_are_counted_again(honest, tmp_path):
    def certain(value: dict) -> None:
        value.update(low=value["value"], high=value["value"])

    cheat = forged(honest, tmp_path / "cheat.zip", values=of_clean(certain))
    there = {record.learner: record for record in of_protocol(cheat, "clean")}
    here = {record.learner: record for record in of_protocol(honest, "clean")}
    assert (there["zzz"].low, there["zzz"].high) == pytest.approx(
        (here["random"].low, here["random"].high)
    )


def of_protocol(path: Path, protocol: str):
    records = submission.read(path).results.records
    return [record for record in records if record.protocol == protocol]


def test_a_row_without_some_attacks_is_not_comparable(honest, tmp_path):
    cheat = forged(honest, tmp_path / "cheat.zip", attacks=("fgsm",))
    _, refused = board(honest, cheat)
    assert "it lacks accuracy, pgd-3" in refused, refused


def test_a_refused_seed_leaves_the_bold_numbers_of_the_board_as_they_were(honest, tmp_path):
    cheat = forged(honest, tmp_path / "cheat.zip", **FORGERIES["a seed that nobody else has"][0])

    def bold(*sources: Path) -> list:
        (division,) = leaderboard.gather(sources).divisions
        tables = build_all(division.results, division.tables, [])
        return [[cell and cell.bold for cell in row] for table in tables for row in table.cells]

    assert bold(honest, cheat) == bold(honest) and any(map(any, bold(honest)))


def test_an_unreadable_submission_is_one_line_of_the_command(honest, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK")
    words = ["board", str(honest), str(tmp_path / "broken.zip"), "-o", str(tmp_path / "site")]
    done = CliRunner().invoke(app, words)
    lines = [line for line in done.stderr.splitlines() if line.startswith("refused: broken: ")]
    assert done.exit_code == 1 and len(lines) == 1 and (tmp_path / "site/index.html").exists()
