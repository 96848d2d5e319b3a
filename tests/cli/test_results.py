"""Commands that read a store: table, records, compare, show, trust; and ``harness.load``."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import fields

import pytest
from command_kit import harness

from harness.records import Record
from harness.storage import cellfile


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_table_prints_every_format_without_running(ran):
    where = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    assert "| pixels |" in harness("table", *where, "--format", "markdown").stdout
    assert "\\toprule" in harness("table", *where, "--format", "latex").stdout
    assert "learner," in harness("table", *where, "--format", "csv").stdout
    assert len(json.loads(harness("table", *where, "--format", "json").stdout)) == 2


def test_a_table_without_results_says_so_instead_of_showing_an_empty_grid(ran, tmp_path):
    empty = (ran[0] / "tiny.yaml", "--store", tmp_path / "none")
    shown = harness("table", *empty, COLUMNS="80", TTY_COMPATIBLE="1")
    assert shown.stdout.count("no results yet") == 2
    assert "─" not in shown.stdout
    assert "harness run" in " ".join(shown.stderr.split())


def test_records_are_json_lines_with_every_field(ran):
    done = harness("records", ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    rows = json_lines(done.stdout)
    assert len(rows) == 2 * 3
    for field in fields(Record):
        assert all(field.name in row for row in rows)


def test_records_can_be_selected(ran):
    here = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    query = "learner == 'random' and setting_shots == 2"
    selected = json_lines(harness("records", *here, "--query", query).stdout)
    assert [row["setting_shots"] for row in selected] == [2]
    assert harness("records", *here, "--query", "learner == 'nobody'").stdout == ""


def test_flat_records_have_the_same_values(ran):
    here = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    exact = json_lines(harness("records", *here).stdout)
    flat = json_lines(harness("records", *here, "--query", "value >= 0").stdout)
    assert {row["value"] for row in flat} == {row["value"] for row in exact}
    assert "torch" in json.loads(flat[0]["versions"])


def test_records_can_be_written_to_a_file(ran, tmp_path):
    here = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    assert harness("records", *here, "--out", tmp_path / "all.csv").returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 6


def test_records_of_a_store_need_no_suite(ran, tmp_path):
    assert len(harness("records", ran[0] / "store").stdout.splitlines()) == 6
    none = harness("records", ran[0] / "tiny.yaml", "--store", tmp_path / "none")
    assert none.stdout == ""
    assert "harness run" in none.stderr


def test_a_faulty_query_or_file_of_records_is_bad_input(ran, tmp_path):
    here = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    for words in (
        ["--query", "nothing =="],
        ["--query", "no_column > 1"],
        ["--query", "learner"],
        ["--out", tmp_path / "all.xyz"],
    ):
        wrong = harness("records", *here, *words)
        assert wrong.returncode == 2
        assert "Traceback" not in wrong.stderr


def test_parquet_needs_pyarrow_and_says_so(ran, tmp_path):
    done = harness("records", ran[0] / "store", "--out", tmp_path / "all.parquet")
    if importlib.util.find_spec("pyarrow"):
        assert done.returncode == 0
        assert (tmp_path / "all.parquet").exists()
    else:
        assert done.returncode == 2
        assert "pip install pyarrow" in done.stderr


def test_two_learners_are_compared_pair_by_pair(ran):
    here = ("--suite", ran[0] / "tiny.yaml", "--store", ran[0] / "store", "--json")
    lines = json.loads(harness("compare", "pixels", "random", *here).stdout)
    assert len(lines) == 3
    for line in lines:
        assert line["paired"]
        assert abs(line["difference"] - (line["b"] - line["a"])) < 1e-9
        assert line["low"] < line["high"]
    wrong = harness("compare", "pixels", "randm", *here)
    assert wrong.returncode == 2
    assert "did you mean 'random'" in wrong.stderr


def test_sides_of_a_comparison_are_named_in_a_pipe(ran):
    done = harness(
        "compare", "pixels", "random", "--suite", ran[0] / "tiny.yaml", "--store", ran[0] / "store"
    )
    headings = done.stdout.splitlines()[0].split("\t")
    assert headings[:4] == ["number", "A: pixels", "B: random", "B - A"]


def test_a_run_against_itself_has_no_difference(ran):
    path = ran[0] / "tiny.yaml"
    done = harness("compare", path, path, "--store", ran[0] / "store", "--json")
    lines = json.loads(done.stdout)
    assert len(lines) == 6
    assert {line["difference"] for line in lines} == {0.0}


def test_show_prints_a_cell_by_the_start_of_its_key(ran):
    store = ran[0] / "store"
    key = next((store / "cells").iterdir()).name
    shown = json.loads(harness("show", key[:10], "--store", store).stdout)
    assert shown["key"] == key
    assert shown["identity"]["learner"]["kind"] in ("nearest-mean", "random-features")


def test_show_refuses_a_start_that_fits_no_cell_or_several(ran):
    store = ran[0] / "store"
    none = harness("show", "zz", "--store", store)
    assert none.returncode == 2
    assert "no cell 'zz'" in none.stderr
    several = harness("show", "", "--store", store)
    assert several.returncode == 2
    assert "more than one cell" in several.stderr


def test_load_gives_a_frame_of_a_suite_or_a_store(ran):
    from harness import load

    of_suite = load(ran[0] / "tiny.yaml", store=ran[0] / "store")
    of_store = load(ran[0] / "store")
    assert len(of_suite) == len(of_store) == 6
    assert sorted(of_suite["value"]) == sorted(of_store["value"])
    assert set(of_suite["learner"]) == {"pixels", "random"}
    assert of_suite["setting_shots"].max() == 2


def test_trust_names_what_failed_and_is_a_gate(swept):
    suite = swept / "swept.yaml"
    store = swept / "store"
    done = harness("trust", suite, "--store", store)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in ("lame", "fgsm", "FAIL", "FGSM"):
        assert word in done.stdout
    alone = "protocols.robust.attacks=[{attack: fgsm, eps: [0.1], loss: [margin]}]"
    sound = harness("trust", suite, "--store", store, "--set", alone)
    assert sound.returncode == 0
    assert "1 measurement: 0 failed" in sound.stderr


def test_trust_says_of_a_store_what_it_says_of_a_suite(swept):
    of_suite = json.loads(
        harness("trust", swept / "swept.yaml", "--store", swept / "store", "--json").stdout
    )
    done = harness("trust", swept / "store", "--json")
    of_store = {row["cell"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert {row["cell"] for row in of_suite} == set(of_store)
    for row in of_suite:
        other = of_store[row["cell"]]
        names = {check["name"] for check in other["checks"]}
        # A suite adds the checks that compare attacks with each other.
        assert other["checks"] == [check for check in row["checks"] if check["name"] in names]
        assert row["learner"] == "pixels"
        assert (other["learner"], other["protocol"]) == ("nearest-mean", "digits")


def test_every_failed_trust_check_gives_its_number(swept):
    rows = json.loads(harness("trust", swept / "store", "--json").stdout)
    failed = [check for row in rows for check in row["checks"] if check["level"] == "FAIL"]
    assert failed
    for check in failed:
        assert any(letter.isdigit() for letter in check["detail"])


def test_an_attack_that_fails_its_checks_has_the_level_fail(swept):
    suite = swept / "swept.yaml"
    rows = json.loads(harness("trust", suite, "--store", swept / "store", "--json").stdout)
    assert [row["level"] for row in rows if row["attack"] == "lame"] == ["FAIL"]


def test_trust_without_attack_sweeps_does_not_pass(ran, tmp_path):
    for words in (
        (ran[0] / "store",),
        (tmp_path,),
        (ran[0] / "tiny.yaml", "--store", ran[0] / "store"),
        (tmp_path / "no.yaml",),
    ):
        done = harness("trust", *words)
        assert done.returncode == 2
        assert "harness" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["table", "records", "board"])
def test_a_cell_whose_verdicts_are_no_arrays_is_named_and_the_others_are_shown(
    ran, tmp_path, command
):
    store = tmp_path / "store"
    shutil.copytree(ran[0] / "store", store)
    path = next(store.glob("cells/*/verdicts.safetensors"))
    content = cellfile.decode((path.parent / "cell.json").read_bytes())
    path.write_bytes(b"\xff" * 100)
    (path.parent / "cell.json").write_bytes(
        cellfile.encode(content.result, {path.name: b"\xff" * 100})
    )
    out = ("-o", tmp_path / "site") if command == "board" else ()
    done = harness(command, ran[0] / "tiny.yaml", "--store", store, *out)
    assert done.returncode == 0, done.stderr
    assert path.parent.name in done.stderr and "verify" in done.stderr
    shown = next((tmp_path / "site").rglob("*.html")).read_text() if out else done.stdout
    assert "pixels" in shown and "random" in shown


def test_a_submission_in_place_of_a_suite_is_called_one(ran, tmp_path):
    path = tmp_path / "x.zip"
    packed = harness("submit", ran[0] / "tiny.yaml", "--store", ran[0] / "store", "-o", path)
    assert packed.returncode == 0, packed.stderr
    done = harness("table", path)
    assert done.returncode == 2 and "a submission, not a suite" in done.stderr


def test_optimality_is_columns_on_a_terminal_and_fields_in_a_pipe(swept):
    words = ("optimality", swept / "swept.yaml", "--store", swept / "store")
    piped = harness(*words).stdout.splitlines()
    assert piped[0].split("\t")[4:7] == ["attack", "broken %", "alone %"]
    shown = harness(*words, COLUMNS="80", TTY_COMPATIBLE="1").stdout
    assert "\t" not in shown
    assert all(len(line) <= 90 for line in shown.splitlines())  # with codes of styles
