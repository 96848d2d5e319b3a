"""Croissant metadata of results, episode lists and streams."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from command_kit import harness

from harness import api
from harness.errors import HarnessError
from harness.publish.exports import croissant

ROOT = Path(__file__).resolve().parents[3]
WHO = {
    "url": "https://example.org/data",
    "creator": "mylab",
    "licence": "CC-BY-4.0",
    "published": "2026-11-28",
}
REQUIRED = (
    *("@context", "@type", "conformsTo", "name", "description", "url", "license", "creator"),
    *("datePublished", "distribution"),
)
ASKED = ("--url", "u", "--creator", "c", "--licence", "l")
FEW = """
name: few
learners: {pixels: {kind: nearest-mean}}
protocols:
  few: {kind: few_shot, dataset: digits, ways: 3, shots: [1, 2], queries: 2, episodes: 4}
  stream: {kind: continual, dataset: digits, tasks: 5, orders: [1, 2], strategies: [naive]}
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of results, of episode lists and of streams, described."""
    base = tmp_path_factory.mktemp("croissant")
    shutil.copytree(ROOT / "results" / "quickstart", base / "results")
    (base / "few.yaml").write_text(FEW)
    api.episodes(base / "few.yaml", base / "episodes")
    api.streams(base / "few.yaml", base / "streams")
    for name in ("results", "episodes", "streams"):
        croissant.write(base / name, **WHO)
    return base


def metadata(folder):
    return json.loads((folder / "croissant.json").read_text())


@pytest.mark.parametrize("name", ["results", "episodes", "streams"])
def test_all_that_the_format_requires_is_there(folders, name):
    content = metadata(folders / name)
    assert all(content[key] for key in REQUIRED)
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    files = {file["@id"]: file for file in content["distribution"]}
    assert set(files) == {path.name for path in (folders / name).iterdir()} - {croissant.FILE}
    for file in files.values():
        data = (folders / name / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["contentSize"] == f"{len(data)} B" and file["encodingFormat"]
    for records in content["recordSet"]:
        for field in records["field"]:
            assert field["source"]["fileObject"]["@id"] in files
            assert field["@id"].startswith(f"{records['@id']}/") and field["dataType"]


def test_tables_have_a_field_for_each_column(folders):
    sets = {each["name"]: each for each in metadata(folders / "results")["recordSet"]}
    paths = list((folders / "results").glob("*.csv"))
    assert set(sets) == {path.stem for path in paths}
    for path in paths:
        heading = next(csv.reader(path.open()))
        assert [field["name"] for field in sets[path.stem]["field"]] == heading


def test_the_commit_and_the_suite_of_results_are_named(folders):
    about = json.loads((folders / "results" / "provenance.json").read_text())
    text = metadata(folders / "results")["description"]
    assert "suite quickstart" in text and all(commit in text for commit in about["commits"])


def test_the_same_files_give_the_same_metadata(folders):
    before = (folders / "episodes" / "croissant.json").read_bytes()
    assert croissant.write(folders / "episodes", **WHO).read_bytes() == before


def test_a_loader_of_croissant_reads_every_record(folders):
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant")
    for name in ("results", "episodes", "streams"):
        dataset = mlcroissant.Dataset(jsonld=str(folders / name / "croissant.json"))
        for records in dataset.metadata.record_sets:
            assert list(dataset.records(records.uuid))
    path = sorted((folders / "episodes").glob("few-*.json"))[0]
    episode = json.loads(path.read_text())["episodes"][0]
    dataset = mlcroissant.Dataset(jsonld=str(folders / "episodes" / "croissant.json"))
    first = next(iter(dataset.records(path.stem)))
    assert first[f"{path.stem}/support"] == episode["support"]
    assert first[f"{path.stem}/query"] == episode["query"]


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(HarnessError, match="no tables, no records and no lists"):
        croissant.write(tmp_path, **WHO)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"x,y\n1\n"), ("a.csv", b"x\n\xff\n"), ("a.json", b"{"), ("provenance.json", b"{}")],
)
def test_a_damaged_file_is_one_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HarnessError, match=name):
        croissant.write(tmp_path, **WHO)
    assert not (tmp_path / croissant.FILE).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset", "nowhere.yaml", "-o", "{out}"], "nowhere.yaml"),
        (["every-eval-ever", "{results}", "-o", "{out}"], "--developer"),
        (["every-eval-ever", "{results}", "-o", "{out}", "--developer", "a/b"], "folder"),
        (["eval-results", "{results}", "-o", "{out}", "--benchmark", "b"], "OWNER/NAME"),
        (["dataset", "{results}", "-o", "{results}/few.csv"], "cannot"),
        (
            ["croissant", "{out}", *ASKED],
            "no such folder",
        ),
        (
            [
                "croissant",
                "{results}",
                *["--url", "u", "--creator", "c", "--licence", "l", "--published", "x"],
            ],
            "not a date",
        ),
        (["wand", "{results}"], "wand"),
    ],
)
def test_wrong_input_is_one_error_with_status_2(folders, tmp_path, words, message):
    places = {"results": folders / "results", "out": tmp_path / "out"}
    ended = harness("export", *(word.format(**places) for word in words))
    assert ended.returncode == 2
    assert message in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()
