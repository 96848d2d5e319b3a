"""Which results are fresh, which are stale and why, and bringing them up to date."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import DataError, HarnessError
from harness.execute.session import RunOptions
from harness.publish import paper, provenance, staleness, submission
from harness.publish.folder import folder_of

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 30}
tables: [{protocol: few, columns: [shots]}, {protocol: plain}]
"""


def harness(*words):
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A paper with one suite, made once."""
    home = tmp_path_factory.mktemp("paper")
    (home / "suites" / "paper").mkdir(parents=True)
    (home / "suites" / "paper" / "tiny.yaml").write_text(SUITE)
    with contextlib.chdir(home):
        return home, harness("paper", "--pack", "--workers", 1)


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    """A copy to change; the store stays in place."""
    shutil.copytree(made[0] / "suites", tmp_path / "suites")
    shutil.copytree(made[0] / "results" / "paper", tmp_path / "results" / "paper")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def look(store: Path | str = "nowhere") -> paper.Status:
    return paper.inspect(Path("suites/paper/tiny.yaml"), RunOptions(store=store))


def edit(home: Path, old: str, new: str) -> None:
    path = home / "suites" / "paper" / "tiny.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_suite_that_never_ran_says_so_and_how_long_it_takes(made):
    assert "suites/paper/tiny.yaml: never run, 10 of 10 cells to run, about" in made[1].stdout
    assert (
        "wrote" in made[1].stderr and (made[0] / "results" / "paper" / "tiny" / "few.tex").is_file()
    )


def test_results_are_fresh_without_their_store_too(home, made):
    assert look(made[0] / "results" / "runs").state == "fresh"
    found = look()
    assert (found.state, found.why, found.todo, found.cells) == ("fresh", [], 10, 10)
    assert found.basis == "from the time that it took before"


def test_a_second_time_nothing_is_done_and_forced_the_bytes_are_the_same(home, made):
    before, folder = files(home / "results/paper/tiny"), home / "results/paper/tiny"
    again = harness("paper", "--store", made[0] / "results/runs")
    assert "all fresh" in again.stdout and "wrote" not in again.stderr and files(folder) == before
    (folder / provenance.FILE).unlink()
    told = harness("paper", "--dry-run", "--store", made[0] / "results/runs").stdout
    assert "stale\n  its origin is unknown: it has no provenance.json" in told
    harness("paper", "--pack", "--store", made[0] / "results/runs")
    assert {name: data for name, data in files(folder).items() if name != provenance.FILE} == {
        name: data for name, data in before.items() if name != provenance.FILE
    }


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("width: 50", "width: 60", "suite: learners.random.width 50 -> 60"),
        ("episodes: 30", "episodes: 31", "suite: protocols.few.episodes 30 -> 31"),
        (
            "name: tiny",
            "name: tiny\nseeds: [0, 1]",
            "suite: protocols.plain.seeds [0] -> [0, 1]; protocols.few.seeds [0] -> [0, 1]",
        ),
    ],
)
def test_a_suite_that_asks_for_other_numbers_is_stale(home, old, new, why):
    edit(home, old, new)
    found = look()
    assert (found.state, found.why, found.source) == ("stale", [why], "")


@pytest.mark.parametrize(
    "old, new",
    [
        ("columns: [shots]}", "columns: [shots], title: Other}"),
        (
            "tables:",
            "published:\n"
            "- {row: people, protocol: few, setting: {shots: 1}, value: 0.9, source: me}\n"
            "tables:",
        ),
    ],
)
def test_tables_are_rewritten_without_a_store_or_a_run(home, old, new):
    edit(home, old, new)
    assert look().state == "stale tables" and look().source == paper.MEASURED
    before = files(home / "results/paper/tiny")
    harness("paper", "--tables-only", "--store", "nowhere")
    after = files(home / "results/paper/tiny")
    assert not (home / "nowhere").exists()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"few.md", "few.csv", "few.json", "few.tex", provenance.FILE} - (
        {"few.csv"} if "title" in new else set()
    )
    assert look().state == "fresh"


def test_a_removed_or_altered_file_is_reported_and_rewritten(home):
    folder = home / "results/paper/tiny"
    before = files(folder)
    (folder / "few.md").unlink()
    (folder / "few.csv").write_text("something else")
    assert look().why == ["removed: few.md", "altered by hand: few.csv"]
    harness("paper", "--tables-only", "--store", "nowhere")
    assert files(folder) == before


def test_definitions_that_changed_are_named(home, monkeypatch):
    real = provenance.code_definitions

    def edited(identity):
        definitions = real(identity)
        return {
            name: f"{code}x" if "random" in name.lower() else code
            for name, code in definitions.items()
        }

    monkeypatch.setattr(provenance, "code_definitions", edited)
    (reason,) = look().why
    assert reason.startswith("code: ") and "random" in reason.lower()
    assert look().state == "stale"


def test_other_data_are_named(home, monkeypatch):
    monkeypatch.setattr(staleness, "content_hash", lambda then: lambda dataset: "0" * 64)
    assert look().why == ["data: the content of digits"]


def test_absent_data_count_as_unchanged(home, monkeypatch):
    def absent(dataset):
        raise DataError("it is not here")

    monkeypatch.setattr("harness.data.acquire.content_hash", absent)
    assert look().state == "fresh"


def test_other_releases_and_another_drawing_library_are_named(home, monkeypatch):
    monkeypatch.setattr(
        provenance, "versions", lambda: {**paper.planning.versions(), "torch": "0.1"}
    )
    assert any(reason.startswith("torch 0.1 here, ") for reason in look().why)
    monkeypatch.undo()
    monkeypatch.chdir(home)
    monkeypatch.setattr("matplotlib.__version__", "0.1")
    found = look()
    assert found.state == "stale tables" and found.why == [
        "the code that writes tables and figures (matplotlib)"
    ]


def test_cells_that_were_missing_are_named(home):
    path = home / "results/paper/tiny" / provenance.FILE
    known = json.loads(path.read_text())
    known["cells"]["few"]["random"]["missing"] = 1
    path.write_text(json.dumps(known))
    assert look().why == ["1 of 2 cells of random in few were missing"]


def test_tables_only_skips_what_has_to_be_run(home):
    edit(home, "width: 50", "width: 60")
    before = files(home / "results/paper/tiny")
    done = harness("paper", "--tables-only", "--store", "nowhere")
    assert "skipped: suites/paper/tiny.yaml: 10 cells have to be run" in done.stderr
    assert files(home / "results/paper/tiny") == before


def test_tables_of_older_code_can_be_rewritten_and_stay_stale(home):
    folder = home / "results/paper/tiny"
    path = folder / "provenance.json"
    harness("paper", "--pack", "--workers", 1, "--store", home / "results/runs")
    known = json.loads(path.read_text())
    name = next(iter(known["code"]))
    known["code"][name] = "of older code"
    known["writers"]["grid"] = "of older code"
    path.write_text(json.dumps(known))
    (folder / "plain.md").unlink()
    assert look().source == "older measured.zip"
    done = harness("paper", "--tables-only", "--store", "nowhere")
    assert "still those of older code" in done.stderr and (folder / "plain.md").is_file()
    assert look().state == "stale" and look().why == [f"code: {name} changed"]
    assert read_suite(folder)["learners"] == known["suite"]["learners"]


def test_measurements_that_were_kept_are_kept_when_tables_are_rewritten(home):
    folder = home / "results/paper/tiny"
    store = home / "results/runs"
    harness("paper", "--pack", "--workers", 1, "--store", store)
    (folder / "plain.md").unlink()
    known = json.loads((folder / "provenance.json").read_text())
    known["writers"]["grid"] = "of older code"
    (folder / "provenance.json").write_text(json.dumps(known))
    harness("paper", "--tables-only", "--workers", 1, "--store", store)
    assert (folder / "plain.md").is_file() and (folder / "measured.zip").is_file()


def test_tables_are_not_rewritten_for_another_suite(home):
    folder = home / "results/paper/tiny"
    harness("paper", "--pack", "--workers", 1, "--store", home / "results/runs")
    known = json.loads((folder / "provenance.json").read_text())
    for group in known["suite"]["learners"].values():
        newer = sorted(group.keys() - {"kind", "width"})  # a key that is newer has its default
        group.pop(newer[0])
    (folder / "provenance.json").write_text(json.dumps(known))
    assert look().source == "older measured.zip"
    edit(home, "width: 50", "width: 60")
    assert look().source == ""


def read_suite(folder: Path) -> dict:
    return json.loads((folder / "provenance.json").read_text())["suite"]


def test_stale_cells_are_run_and_obsolete_files_removed(home, made):
    edit(home, ", {protocol: plain}]", "]")
    edit(home, "episodes: 30", "episodes: 20")
    store = made[0] / "results/runs"
    assert (
        look(store).todo == 4
        and look(store).basis == "from similar cells, of this store or earlier runs"
    )
    harness("paper", "--store", store, "--workers", 1)
    folder = home / "results/paper/tiny"
    assert (
        look(store).state == "fresh"
        and not (folder / "plain.md").exists()
        and (folder / "few.md").exists()
    )
    # The older measurements were kept, so those that replace them are, too.
    kept = submission.read(folder / paper.MEASURED)
    assert {record.n for record in kept.results.records if record.protocol == "few"} == {20}


def test_the_report_as_json_and_for_other_folders(home, made):
    done = harness("paper", "suites/paper/tiny.yaml", "--dry-run", "--json", "--out", "elsewhere")
    (row,) = json.loads(done.stdout)
    assert row["state"] == "never run" and row["folder"] == "elsewhere/tiny" and row["seconds"] > 0
    assert folder_of(Path("suites/a/b.yaml")) == Path("results/a/b")
    assert folder_of(Path("/other/place/b.yaml")) == Path("results/b")


def test_no_suites_and_damaged_provenance_are_explained(home, tmp_path):
    path = home / "results/paper/tiny" / provenance.FILE
    path.write_text('{"schema": 2, "suite": []}')
    with pytest.raises(
        HarnessError, match="provenance.json: not a provenance file of schema 2: suite"
    ):
        look()
    path.write_text("{")
    with pytest.raises(HarnessError, match="provenance.json: cannot read it"):
        look()
    (tmp_path / "empty").mkdir()
    with (
        contextlib.chdir(tmp_path / "empty"),
        pytest.raises(HarnessError, match="suites/paper: there are no suites here"),
    ):
        paper.find_suites([])
    with pytest.raises(HarnessError, match="tiny.yaml"):
        edit(home, "kind: nearest-mean", "kind: nearest")
        path.unlink()
        look()


def test_a_run_leaves_its_provenance_too(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harness(
        "run",
        made[0] / "suites/paper/tiny.yaml",
        "--store",
        made[0] / "results/runs",
        "--out",
        "there",
        "--set",
        "protocols.few.episodes=30",
    )
    known = provenance.read(tmp_path / "there")
    assert known["command"].endswith("tiny.yaml --set protocols.few.episodes=30 --out there")
    assert {*known["files"]} == {path.name for path in (tmp_path / "there").iterdir()} - {
        provenance.FILE
    }
    assert (
        known["environment"]["torch"]
        and known["seconds"] > 0
        and sum(known["commits"].values()) == 10
    )


MATCHED = """
name: matched
defaults: {learners: {mlp: {hidden: 16, epochs: 1, lr: 0.01}}}
learners:
  bio: {kind: mlp}
  pruned: {kind: mlp, match: {density: 0.5, vary: density}}
protocols: {plain: {kind: classification, dataset: digits}}
"""


def test_the_choice_of_a_match_is_known_without_the_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matched.yaml").write_text(MATCHED)
    path, options = Path("matched.yaml"), RunOptions(store="store", workers=1)
    before = paper.inspect(path, options)
    assert (
        before.state == "never run" and before.cells == before.todo == 4
    )  # a training, a match, two measurements
    paper.update(before, options)
    elsewhere = paper.inspect(path, options, out=Path("elsewhere"))
    assert (
        elsewhere.state == "never run"
        and elsewhere.todo == 0
        and "the store has all of its cells" in elsewhere.why[0]
    )
    known = provenance.read(Path("results/matched"))
    assert len(known["chosen"]) == 1 and {*known["cells"]} == {"train", "match", "plain"}
    for place in ("store", "nowhere"):
        again = paper.inspect(path, RunOptions(store=place))
        assert (again.state, again.why) == ("fresh", [])
    path.write_text(MATCHED.replace("density: 0.5", "density: 0.4"))
    assert paper.inspect(path, RunOptions(store="nowhere")).state == "stale"


def test_two_folders_of_images_with_equal_keys_have_a_line_each():
    def cell(content):
        dataset = {"kind": "image-folder", "config": {"size": 8}, "content": content}
        return SimpleNamespace(identity={"dataset": dataset})

    first, second = "a" * 64, "b" * 64
    assert provenance._data([cell(first), cell(first)]) == {"image-folder size=8": first}
    assert provenance._data([cell(second), cell(first)]) == {
        "image-folder size=8 #aaaaaaaa": first,
        "image-folder size=8 #bbbbbbbb": second,
    }
