"""What a source may be, and that every command accepts each kind."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from command_kit import harness as in_process

from harness import api
from harness.cells import stored
from harness.cells.stored import nameless
from harness.errors import HarnessError
from harness.execute.session import RunOptions
from harness.publish import leaderboard, sources, submission
from harness.report import compare, reference, trusted
from harness.storage.store import Store

SUITE = """
name: tiny
seeds: [0, 1]
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  robust:
    {kind: attack_sweep, dataset: digits, images: 40, attacks: [{attack: fgsm, eps: [0, 0.1]}]}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 20}
"""
OTHER = """
name: other
budget: {images: 300}
seeds: [0, 1]
learners: {means: {kind: nearest-mean}, wide: {kind: random-features, width: 60}}
protocols:
  rare: {kind: few_shot, dataset: digits, ways: 5, shots: [2], queries: 5, episodes: 20}
"""


def git(folder, *words):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two suites with stores, and a repository with a submission, results and a reference."""
    home = tmp_path_factory.mktemp("home")
    for name, text in (("tiny", SUITE), ("other", OTHER)):
        (home / f"{name}.yaml").write_text(text)
        api.run(home / f"{name}.yaml", store=home / f"{name}-store", workers=1)
    layout, store = api.plan(home / "tiny.yaml"), Store(home / "tiny-store")
    (home / "results" / "tiny").mkdir(parents=True)
    for path in (home / "tiny.zip", home / "results" / "tiny" / "measured.zip"):
        submission.pack(layout, store, submission.suite_text(home / "tiny.yaml"), path)
    reference.save(api.measured(home / "tiny.yaml", store=home / "tiny-store"), home / "tiny.json")
    git(home, "init", "--quiet")
    git(home, "add", "results", "tiny.zip", "tiny.json", "tiny.yaml")
    git(home, "commit", "--quiet", "--message", "all of it")
    return home


@pytest.fixture(autouse=True)
def here(home, monkeypatch):
    monkeypatch.chdir(home)


def harness(*words):
    return in_process(*words, COLUMNS="200")


@pytest.mark.parametrize(
    ("name", "kind", "at"),
    [
        ("tiny.yaml", "suite", "tiny.yaml"),
        ("quickstart", "suite", "quickstart"),
        ("missing.json", "reference", "missing.json"),
        ("tiny-store", "store", "tiny-store"),
        ("s3://bucket/store", "store", "s3://bucket/store"),
        ("tiny.zip", "submission", "tiny.zip"),
        ("results/tiny", "submission", "results/tiny/measured.zip"),
        ("tiny.json", "reference", "tiny.json"),
        ("HEAD:tiny.json", "reference", "HEAD:tiny.json"),
        ("HEAD:tiny.zip", "submission", "HEAD:tiny.zip"),
        ("HEAD:results/tiny", "submission", "HEAD:results/tiny/measured.zip"),
    ],
)
def test_the_name_decides_the_kind_of_a_source(name, kind, at):
    found = sources.find(name)
    assert (found.kind, str(found)) == (kind, at)


def test_a_file_with_a_name_like_a_commit_is_a_file(home):
    (home / "HEAD:here.json").write_bytes((home / "tiny.json").read_bytes())
    assert len(api.measured("HEAD:here.json").rows) == 8
    (home / "HEAD:here.json").unlink()


@pytest.mark.parametrize(
    "name",
    [
        "tiny.zip",
        "results/tiny",
        "tiny.json",
        "HEAD:tiny.zip",
        "HEAD:results/tiny",
        "HEAD:tiny.json",
    ],
)
def test_every_source_of_one_run_measured_the_same(name):
    suite = api.measured("tiny.yaml", store="tiny-store")
    lines = compare.runs(suite, api.measured(name))
    assert len(lines) == 8 and {(line.difference, line.paired, line.apart) for line in lines} == {
        (0.0, True, ())
    }


def test_a_commit_is_read_and_not_the_working_tree(home):
    before = (home / "tiny.json").read_text()
    (home / "tiny.json").write_text("{}")
    try:
        assert len(api.measured("HEAD:tiny.json").rows) == 8
    finally:
        (home / "tiny.json").write_text(before)


def test_two_stores_are_compared_on_what_both_have():
    (line,) = compare.runs(api.measured("tiny-store"), api.measured("other-store"))
    assert (line.learner, line.where) == ("nearest-mean", "few_shot on digits, 2-shot")
    assert line.paired and line.n == 40 and line.apart == ("budget None -> 300",)


def test_a_store_is_compared_with_named_results_by_kinds_and_keys():
    lines = compare.runs(api.measured("tiny-store"), api.measured("HEAD:results/tiny", names=False))
    assert len(lines) == 8 and {(line.difference, line.apart) for line in lines} == {(0.0, ())}
    assert {line.learner for line in lines} == {"nearest-mean", "random-features (width=50)"}
    (line,) = compare.runs(
        api.measured("tiny.zip", names=False),
        api.measured("other.yaml", names=False, store="other-store"),
    )
    assert line.apart == ("budget None -> 300",)
    with pytest.raises(HarnessError, match="does not record the kinds"):
        api.measured("tiny.json", names=False)


def test_the_newest_of_two_equal_measurements_counts():
    everything = stored.stored(Store("tiny-store"))
    first = everything.records[0]
    doubled = [
        replace(first, created="2999", value=0.5),
        *everything.records,
        replace(first, created="1999", value=0.25),
    ]
    found = nameless(replace(everything, records=doubled)).records
    assert len(found) == len(everything.records)
    assert [
        record.value
        for record in found
        if record.cell == first.cell
        and (record.metric, record.setting) == (first.metric, first.setting)
    ] == [0.5]


def test_records_trust_and_boards_are_of_submissions_and_folders_of_results_too(home):
    suite = api.results("tiny.yaml", store="tiny-store")
    for name in ("tiny.zip", "results/tiny", "HEAD:results/tiny"):
        there = api.results(name)
        assert there.records == suite.records and trusted.of_results(there) == trusted.of_results(
            suite
        )
        board = leaderboard.gather([name], RunOptions(store="nowhere"))
        assert board.divisions[0].results.records == suite.records and len(api.load(name)) == len(
            suite.records
        )


def test_the_command_line_compares_them_all(home):
    done = harness("compare", "HEAD:results/tiny", "tiny.yaml", "--store", "tiny-store", "--json")
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 8, done.stderr
    shown = harness("compare", "tiny-store", "other.yaml", "--store-b", "other-store")
    assert (
        shown.returncode == 0
        and "budget None -> 300" in shown.stderr
        and "40, paired" in shown.stdout
    ), shown.stderr
    learners = harness("compare", "pixels", "random", "--suite", "HEAD:results/tiny", "--json")
    assert len(json.loads(learners.stdout)) == 4, learners.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "nope:tiny.json", "tiny.json"], "nope:tiny.json: there is no commit 'nope'"),
        (
            ["compare", "HEAD:nope.json", "tiny.json"],
            "HEAD:nope.json: that commit has no such file",
        ),
        (
            ["compare", "HEAD:tiny.yaml", "tiny.json"],
            "only a reference (.json), a submission (.zip)",
        ),
        (["compare", "tiny-store", "tiny.json"], "a reference does not record the kinds"),
        (["compare", "wide-store", "tiny-store"], "have no number in common"),
        (["compare", "damaged.zip", "tiny.zip"], "damaged.zip: not accepted as a submission"),
        (["compare", "tiny-store", "empty"], "empty: it holds no measurement"),
        (["records", "HEAD:tiny.json"], "a reference holds numbers and verdicts, but no records"),
        (["trust", "tiny.json"], "a reference holds numbers and verdicts, but no records"),
        (["board", "tiny-store"], "a store does not know the names of its cells"),
        (["board", "tiny.json"], "a reference has no tables to show"),
    ],
)
def test_an_unreadable_source_is_one_error(home, words, said):
    (home / "damaged.zip").write_bytes((home / "tiny.zip").read_bytes()[:2000])
    (home / "empty").mkdir(exist_ok=True)
    if "wide-store" in words:
        wide = "learners={wide: {kind: random-features, width: 60}}"
        api.run("other.yaml", store="wide-store", sets=[wide], workers=1)
    done = harness(*words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, (
        done.stderr
    )
    assert len(done.stderr.strip().splitlines()) <= 2
