"""Which rows are shown on a board, and which are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness import api
from harness.cells.results import Results, Training
from harness.cli import app
from harness.errors import HarnessError
from harness.execute.session import RunOptions
from harness.metrics.statistics import wilson
from harness.publish import leaderboard, merging, submission
from harness.records import Record, TrustCheck
from harness.report.board.model import Division
from harness.report.board.site import write_site
from harness.report.tables import build
from harness.storage.store import Store
from harness.suite.specs.tables import TableSpec

BLOCK = {"dataset": "digits", "images": "40", "trust checks": "after each sweep", "seeds": "1 (0)"}


def division(
    origin: str,
    *learners: str,
    wrong: int = 5,
    level: str = "PASS",
    block: dict | None = None,
    data: str = "a" * 64,
    config: dict | None = None,
    protocol: str = "robust",
) -> Division:
    """A source in which each learner is wrong on a few of 40 images."""
    records, arrays, trust = [], {}, {}
    for name in learners:
        cell, units = f"{origin}/{name}", np.array([0] * wrong + [1] * (40 - wrong), np.uint8)
        low, high = wilson(40 - wrong, 40)
        records.append(
            Record(
                suite="tiny",
                cell=cell,
                learner=name,
                dataset="digits",
                protocol=protocol,
                setting={"attack": "fgsm", "eps": 0.1, "norm": "linf"},
                seed=0,
                metric="accuracy",
                value=float(units.mean()),
                low=low,
                high=high,
                n=40,
                unit="sample",
                verdicts="eps=0.1",
                trust=level,
                wall_s=1.0,
                device="cpu",
                versions={},
                dataset_hash=data,
                git_commit="",
                created="",
            )
        )
        arrays[cell, "eps=0.1"] = units
        trust[cell] = (
            [] if level == "-" else [TrustCheck("unbounded", level, "accuracy 0.9 at half the box")]
        )
    results = Results(
        "tiny",
        list(learners),
        {protocol: "attack_sweep"},
        {protocol: block or BLOCK},
        records,
        lambda cell, name: arrays[cell, name],
        trust,
        [],
        {protocol: [0]},
        dict.fromkeys(learners, config or {"hidden": 10}),
        dict.fromkeys(learners, "mlp"),
        {name: [Training(origin, 0, 1, [], 0.0)] for name in learners},
    )
    return Division(results, [], [], "", dict.fromkeys(learners, origin))


def rows(board: Division) -> dict[str, float]:
    return {r.learner: r.value for r in board.results.records}


def test_a_row_measured_under_the_same_conditions_joins_with_its_verdicts_and_training():
    board, refused = merging.merge(division("ours", "a"), division("theirs", "b", wrong=20))
    assert refused == [] and rows(board) == {"a": 35 / 40, "b": 20 / 40}
    assert board.origins == {"a": "ours", "b": "theirs"} and board.results.learners == ["a", "b"]
    assert board.results.trainings["b"][0].data == "theirs" and board.results.kinds["b"] == "mlp"
    table = build(board.results, TableSpec(protocol="robust", columns=["attack", "eps"]))
    assert [cells[0].bold for cells in table.cells] == [
        True,
        False,
    ]  # paired by image across sources


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"data": "b" * 64}, "data digits bbbbbbbbbbbb, the board's is digits aaaaaaaaaaaa"),
        ({"block": BLOCK | {"images": "30"}}, "protocol block: images: 30; the board's: 40"),
        (
            {"block": {k: v for k, v in BLOCK.items() if k != "seeds"}},
            "protocol block: seeds: not stated",
        ),
        ({"level": "-"}, "no trust checks were made"),
        ({"level": "FAIL"}, "trust check failed: unbounded: accuracy 0.9 at half the box"),
        ({"protocol": "elsewhere"}, "has no protocol 'elsewhere'"),
    ],
)
def test_rows_measured_under_other_conditions_are_refused_with_the_reason(other, why):
    board, refused = merging.merge(division("ours", "a"), division("theirs", "b", "c", **other))
    assert rows(board) == {"a": 35 / 40}
    assert [(r.origin, r.learner) for r in refused] == [("theirs", "b"), ("theirs", "c")]
    assert all(why in r.why for r in refused) and str(refused[0]).startswith("theirs: b in ")


def test_rows_with_warnings_are_accepted():
    assert merging.merge(division("ours", "a"), division("theirs", "b", level="WARN"))[1] == []


def test_the_same_learner_with_the_same_numbers_is_shown_once():
    board, refused = merging.merge(division("ours", "a"), division("theirs", "a"))
    assert rows(board) == {"a": 35 / 40} and refused == [] and board.origins == {"a": "ours"}


def test_the_same_learner_with_other_numbers_is_refused():
    board, refused = merging.merge(division("ours", "a"), division("theirs", "a", wrong=6))
    assert (
        rows(board) == {"a": 35 / 40}
        and refused[0].why == "the board has this learner with other numbers"
    )


def test_another_learner_with_the_same_name_gets_its_source_as_suffix():
    board, refused = merging.merge(
        division("ours", "a"), division("theirs", "a", wrong=6, config={"hidden": 20})
    )
    assert rows(board) == {"a": 35 / 40, "a (theirs)": 34 / 40} and refused == []
    assert board.results.configs["a (theirs)"] == {"hidden": 20}


def test_heads_of_merged_learners_are_listed_together():
    ours, theirs = (
        division(o, name, block=BLOCK | {"heads": f"{name} ridge"})
        for o, name in (("ours", "a"), ("theirs", "b"))
    )
    board, refused = merging.merge(ours, theirs)
    assert refused == [] and board.results.blocks["robust"]["heads"] == "a ridge, b ridge"


def test_a_third_source_is_compared_with_the_first():
    board, _ = merging.merge(division("ours", "a"), division("second", "b"))
    board, refused = merging.merge(board, division("third", "c", data="c" * 64))
    assert list(rows(board)) == ["a", "b"] and len(refused) == 1


def test_a_cell_with_two_names_joins_under_both():
    theirs = division("theirs", "b")
    twin = [replace(r, learner="c") for r in theirs.results.records]
    theirs = replace(
        theirs,
        results=replace(
            theirs.results,
            records=theirs.results.records + twin,
            learners=["b", "c"],
            configs={"b": {}, "c": {}},
            kinds={"b": "mlp", "c": "mlp"},
        ),
        origins={"b": "theirs", "c": "theirs"},
    )
    assert list(rows(merging.merge(division("ours", "a"), theirs)[0])) == ["a", "b", "c"]


def test_sources_with_equal_file_names_are_named_by_their_folders():
    assert leaderboard.origins([Path("here/ours.zip"), Path("here/theirs.zip")]) == [
        "ours",
        "theirs",
    ]
    assert leaderboard.origins([Path("/r/a/m.zip"), Path("/r/b/m.zip"), Path("c.yaml")]) == [
        "a/m",
        "b/m",
        "c",
    ]
    assert leaderboard.origins([Path("m.zip"), Path("m.zip")]) == ["m", "m"]


def test_the_suffix_of_a_submission_may_be_in_capitals(tmp_path: Path):
    (tmp_path / "THEIRS.ZIP").write_bytes(b"no zip file")
    with pytest.raises(HarnessError, match="not accepted as a submission"):
        leaderboard.gather([tmp_path / "THEIRS.ZIP"])


def test_a_store_alone_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="does not know the names"):
        leaderboard.gather([tmp_path])


def test_a_suite_that_has_not_been_run(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(
        "name: s\nlearners: {a: {kind: nearest-mean}}\n"
        "protocols: {clean: {kind: classification, dataset: digits}}\n"
    )
    with pytest.raises(HarnessError, match="it has no results yet"):
        leaderboard.gather([tmp_path / "s.yaml"], RunOptions(store=tmp_path / "store"))


TINY = """
name: tiny
learners: {{{learner}: {{kind: nearest-mean}}}}
protocols:
  clean: {{kind: classification, dataset: digits}}
  robust:
    kind: attack_sweep
    dataset: digits
    images: {images}
    attacks: [{{attack: fgsm, eps: [0, 0.1]}}]
"""


def test_the_command_merges_submissions(tmp_path: Path):
    for learner, images in (("first", 20), ("second", 30)):
        suite, store = tmp_path / f"{learner}.yaml", tmp_path / "store"
        suite.write_text(TINY.format(learner=learner, images=images))
        api.run(suite, store=store, workers=1)
        submission.pack(api.plan(suite), Store(store), suite.read_text(), suite.with_suffix(".zip"))
    sources, site = (
        [str(tmp_path / name) for name in ("first.zip", "second.zip")],
        tmp_path / "site",
    )
    done = CliRunner().invoke(app, ["board", *sources, "-o", str(site)])
    why = (
        "refused: second: second in robust: not comparable: protocol block: "
        "images: 30, classes balanced; the board's: 20, classes balanced"
    )
    assert (
        done.exit_code == 1 and why in done.stderr.splitlines()
    )  # in one line, however narrow the terminal
    assert {
        name: "second" in (site / "tables" / "tiny" / f"{name}.csv").read_text()
        for name in ("clean", "robust")
    } == {"clean": True, "robust": False}
    (tmp_path / "taken").touch()
    with pytest.raises(HarnessError, match="cannot write it"):
        write_site(
            leaderboard.gather([Path(sources[0])], RunOptions(store=store)).divisions,
            [],
            tmp_path / "taken",
        )
