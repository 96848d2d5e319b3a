"""Which results are fresh, which are stale and why, and bringing them up to date."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import paper, provenance
from harness.errors import DataError, HarnessError

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 30}
tables: [{protocol: few, columns: [shots]}, {protocol: plain}]
"""


def harness(*words, cwd=None):
    return subprocess.run([sys.executable, "-m", "harness.cli", *map(str, words)], capture_output=True, text=True, check=False,
                          cwd=cwd, env={**os.environ, "COLUMNS": "120"}, timeout=120)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A paper of one suite, made once."""
    home = tmp_path_factory.mktemp("paper")
    (home / "suites" / "paper").mkdir(parents=True)
    (home / "suites" / "paper" / "tiny.yaml").write_text(SUITE)
    done = harness("paper", "--pack", cwd=home)
    assert done.returncode == 0, done.stderr
    return home, done


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    """A copy of it to do damage to; the store stays where it is."""
    import shutil

    shutil.copytree(made[0] / "suites", tmp_path / "suites")
    shutil.copytree(made[0] / "results" / "paper", tmp_path / "results" / "paper")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def look(store: Path | str = "nowhere", **options) -> paper.Look:
    return paper.look(Path("suites/paper/tiny.yaml"), store=Path(store), **options)


def edit(home: Path, old: str, new: str) -> None:
    path = home / "suites" / "paper" / "tiny.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_suite_that_never_ran_says_so_and_how_long_it_takes(made):
    assert "suites/paper/tiny.yaml: never run, 10 of 10 cells to run, about" in made[1].stdout
    assert "wrote" in made[1].stderr and (made[0] / "results" / "paper" / "tiny" / "few.tex").is_file()


def test_what_was_made_is_fresh_without_its_store_too(home, made):
    assert look(made[0] / "results" / "runs").state == "fresh"
    found = look()
    assert (found.state, found.why, found.todo, found.cells) == ("fresh", [], 10, 10)
    assert found.basis == "from the time that it took before"


def test_a_second_time_nothing_is_done_and_forced_the_bytes_are_the_same(home, made):
    before, folder = files(home / "results/paper/tiny"), home / "results/paper/tiny"
    again = harness("paper", "--store", made[0] / "results/runs", cwd=home)
    assert "all fresh" in again.stdout and "wrote" not in again.stderr and files(folder) == before
    (folder / provenance.FILE).unlink()
    told = harness("paper", "--dry-run", "--store", made[0] / "results/runs", cwd=home).stdout
    assert "stale\n  nothing tells what made it: no provenance.json" in told
    assert harness("paper", "--pack", "--store", made[0] / "results/runs", cwd=home).returncode == 0
    assert {name: data for name, data in files(folder).items() if name != provenance.FILE} == {
        name: data for name, data in before.items() if name != provenance.FILE}


@pytest.mark.parametrize("old, new, why", [
    ("width: 50", "width: 60", "suite: learners.random.width 50 -> 60"),
    ("episodes: 30", "episodes: 31", "suite: protocols.few.episodes 30 -> 31"),
    ("name: tiny", "name: tiny\nseeds: [0, 1]", "suite: protocols.plain.seeds [0] -> [0, 1]; protocols.few.seeds [0] -> [0, 1]")])
def test_a_suite_that_asks_for_other_numbers_is_stale(home, old, new, why):
    edit(home, old, new)
    found = look()
    assert (found.state, found.why, found.source) == ("stale", [why], "")


@pytest.mark.parametrize("old, new", [
    ("columns: [shots]}", "columns: [shots], title: Other}"),
    ("tables:", "published: [{row: people, protocol: few, setting: {shots: 1}, value: 0.9, source: me}]\ntables:")])
def test_tables_alone_are_written_anew_without_store_or_running(home, old, new):
    edit(home, old, new)
    assert look().state == "stale tables" and look().source == paper.MEASURED
    before = files(home / "results/paper/tiny")
    done = harness("paper", "--tables-only", "--store", "nowhere", cwd=home)
    after = files(home / "results/paper/tiny")
    assert done.returncode == 0 and not (home / "nowhere").exists()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"few.md", "few.csv", "few.json", "few.tex", provenance.FILE} - ({"few.csv"} if "title" in new else set())
    assert look().state == "fresh"


def test_a_file_that_is_gone_or_altered_is_told_and_made_again(home):
    folder = home / "results/paper/tiny"
    before = files(folder)
    (folder / "few.md").unlink()
    (folder / "few.csv").write_text("something else")
    assert look().why == ["gone: few.md", "altered by hand: few.csv"]
    assert harness("paper", "--tables-only", "--store", "nowhere", cwd=home).returncode == 0
    assert files(folder) == before


def test_other_code_is_named(home, monkeypatch):
    plan = paper.planning
    real = plan.code_version
    monkeypatch.setattr(plan, "code_version", lambda module: real(module) + ("x" if "random_features" in module else ""))
    assert look().why == ["code: learners random"]
    monkeypatch.setattr(plan, "code_version", lambda module: real(module) + "x")
    assert look().why == ["code: learners pixels, random; protocols plain, few"]
    monkeypatch.setattr(plan, "code_version", real)
    monkeypatch.setattr(plan, "_digest", lambda modules: "other")
    assert look().why == ["code: what every cell runs through"] and look().state == "stale"


def test_other_data_are_named(home, monkeypatch):
    monkeypatch.setattr(provenance, "content_hash", lambda then: lambda dataset: "0" * 64)
    assert look().why == ["data: the content of digits"]


def test_data_that_are_not_here_count_as_they_were(home, monkeypatch):
    def absent(dataset):
        raise DataError("it is not here")

    monkeypatch.setattr("harness.data.acquire.content_hash", absent)
    assert look().state == "fresh"


def test_other_releases_and_another_drawing_library_are_named(home, monkeypatch):
    monkeypatch.setattr(provenance, "versions", lambda: {**paper.planning.versions(), "torch": "0.1"})
    assert any(reason.startswith("torch 0.1 here, ") for reason in look().why)
    monkeypatch.undo()
    monkeypatch.chdir(home)
    monkeypatch.setattr("matplotlib.__version__", "0.1")
    found = look()
    assert found.state == "stale tables" and found.why == ["the code that writes tables and figures (matplotlib)"]


def test_cells_that_were_missing_are_named(home):
    path = home / "results/paper/tiny" / provenance.FILE
    known = json.loads(path.read_text())
    known["cells"]["few"]["random"]["missing"] = 1
    path.write_text(json.dumps(known))
    assert look().why == ["1 of 2 cells of random in few were missing"]


def test_what_would_have_to_be_run_is_left_alone_when_only_tables_are_asked_for(home):
    edit(home, "width: 50", "width: 60")
    before = files(home / "results/paper/tiny")
    done = harness("paper", "--tables-only", "--store", "nowhere", cwd=home)
    assert done.returncode == 0 and "left alone: suites/paper/tiny.yaml: 10 cells are to be run" in done.stderr
    assert files(home / "results/paper/tiny") == before


def test_what_is_stale_is_run_and_files_that_nobody_makes_any_more_go(home, made):
    edit(home, ", {protocol: plain}]", "]")
    edit(home, "episodes: 30", "episodes: 20")
    store = made[0] / "results/runs"
    assert look(store).todo == 4 and look(store).basis == "from like cells in the store"
    assert harness("paper", "--store", store, cwd=home).returncode == 0
    folder = home / "results/paper/tiny"
    assert look(store).state == "fresh" and not (folder / "plain.md").exists() and (folder / "few.md").exists()
    assert not (folder / paper.MEASURED).exists()  # it held other numbers


def test_the_answer_is_there_as_json_and_for_other_folders(home, made):
    done = harness("paper", "suites/paper/tiny.yaml", "--dry-run", "--json", "--out", "elsewhere", cwd=home)
    row, = json.loads(done.stdout)
    assert row["state"] == "never run" and row["folder"] == "elsewhere/tiny" and row["seconds"] > 0
    assert paper.folder_of(Path("suites/a/b.yaml")) == Path("results/a/b")
    assert paper.folder_of(Path("/other/place/b.yaml")) == Path("results/b")


def test_no_suites_and_damaged_provenance_are_explained(home, tmp_path):
    path = home / "results/paper/tiny" / provenance.FILE
    path.write_text('{"schema": 1, "suite": []}')
    done = harness("paper", "--dry-run", cwd=home)
    assert done.returncode == 2 and "provenance.json: not a provenance file of schema 1: suite" in done.stderr
    assert "Traceback" not in done.stderr
    path.write_text("{")
    assert "cannot read it" in harness("paper", "--dry-run", cwd=home).stderr
    (tmp_path / "empty").mkdir()
    done = harness("paper", cwd=tmp_path / "empty")
    assert done.returncode == 2 and "no suites there" in done.stderr
    with pytest.raises(HarnessError, match="tiny.yaml"):
        edit(home, "kind: nearest-mean", "kind: nearest")
        path.unlink()
        look()


def test_a_run_leaves_its_provenance_too(made, tmp_path):
    done = harness("run", made[0] / "suites/paper/tiny.yaml", "--store", made[0] / "results/runs", "--out", "there",
                   "--set", "protocols.few.episodes=30", cwd=tmp_path)
    assert done.returncode == 0
    known = provenance.read(tmp_path / "there")
    assert known["command"].endswith("tiny.yaml --set protocols.few.episodes=30 --out there")
    assert {*known["files"]} == {path.name for path in (tmp_path / "there").iterdir()} - {provenance.FILE}
    assert known["environment"]["torch"] and known["seconds"] > 0 and sum(known["commits"].values()) == 10
