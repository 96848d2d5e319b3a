"""Commands about suites: run, plan, validate, diff, list, schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from cli_kit import SUITE
from command_kit import harness, harness_process


def test_run_answers_on_stdout_and_reports_progress_on_stderr(ran):
    _, done = ran
    assert "pixels" in done.stdout
    assert "5-way" in done.stdout
    assert "cells computed" in done.stderr
    assert "pixels · few" in done.stderr
    assert "cells computed" not in done.stdout


def test_run_writes_every_format_and_both_kinds_of_picture(ran):
    folder = ran[0] / "store" / "tables" / "tiny"
    tables = {"few.md", "few.csv", "few.tex", "few.json", "plain.md"}
    figures = {"few.png", "few.pdf"}
    names = {path.name for path in folder.iterdir()}
    assert names >= tables | figures | {"records.jsonl.gz", "provenance.json"}


def test_a_second_run_computes_and_writes_nothing(ran):
    folder = ran[0]
    again = harness("run", folder / "tiny.yaml", "--store", folder / "store")
    assert again.returncode == 0
    assert "0 cells computed" in again.stderr
    assert "(up to date)" in again.stderr


def test_results_are_complete_when_the_reader_of_stdout_has_gone(ran, tmp_path):
    run = f"{sys.executable} -m harness run {ran[0] / 'tiny.yaml'} --store {tmp_path / 'store'}"
    command = ["bash", "-c", f"{run} | true; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0
    assert "cells computed" in done.stderr
    assert (tmp_path / "store" / "tables" / "tiny" / "few.md").exists()


def test_a_store_at_a_file_url_has_its_tables_in_it(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = harness_process("run", ran[0] / "tiny.yaml", "--store", f"file://{tmp_path}/store")
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["store"]
    assert (tmp_path / "store" / "tables" / "tiny" / "plain.md").exists()


def test_plan_says_what_is_done(ran, tmp_path):
    suite = ran[0] / "tiny.yaml"
    store = ran[0] / "store"
    before = json.loads(harness("plan", suite, "--store", tmp_path / "new", "--json").stdout)
    assert not any(cell["done"] for cell in before["cells"])
    assert before["seconds_left"] > 0

    after = json.loads(harness("plan", suite, "--store", store, "--json").stdout)
    assert all(cell["done"] for cell in after["cells"])
    assert after["seconds_left"] == 0

    other_seed = ("--set", "seeds=[1]")
    more = json.loads(harness("plan", suite, "--store", store, *other_seed, "--json").stdout)
    assert more["rough_guesses"] == 0
    assert before["rough_guesses"] == len(before["cells"])
    low, high = more["seconds_left_range"]
    assert 0 < low < high


def test_validate_names_datasets_that_are_not_here_and_how_to_get_them(tmp_path):
    suite = tmp_path / "elsewhere.yaml"
    apart = "{kind: out_of_distribution, dataset: mnist5k, outside: [kmnist]}"
    suite.write_text(
        "name: elsewhere\nlearners: {pixels: {kind: nearest-mean}}\nprotocols:\n"
        f"  plain: {{kind: classification, dataset: mnist}}\n  apart: {apart}\n"
    )
    done = harness("validate", suite, "--data-root", tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].strip() == (
        "not on this machine: mnist (harness data get mnist), "
        "kmnist (harness data import kmnist PATH)"
    )
    told = json.loads(harness("validate", suite, "--data-root", tmp_path, "--json").stdout)
    assert told[0]["good"] and list(told[0]["absent"]) == ["mnist", "kmnist"]


def test_validate_names_every_fault(tmp_path):
    good = tmp_path / "good.yaml"
    bad = tmp_path / "bad.yaml"
    good.write_text(SUITE)
    bad.write_text(SUITE.replace("width", "widht").replace("ways: 5", "ways: 500"))
    done = harness("validate", good, bad)
    assert done.returncode == 2
    assert done.stdout == f"{good}: good: 2 learners, 2 protocols\n"
    faults = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    messages = [fault.split(": ", 1)[1] for fault in faults]
    assert messages == ["unknown key 'widht'", "500 ways, but classes/test has 5 classes"]

    first, second = json.loads(harness("validate", good, bad, "--json").stdout)
    assert first["good"]
    assert not second["good"]
    assert [fault["message"] for fault in second["faults"]] == messages


def test_diff_is_of_suites_with_everything_written_out(ran, tmp_path):
    tiny = ran[0] / "tiny.yaml"
    other = tmp_path / "other.yaml"
    other.write_text(f"extends: {tiny}\nlearners: {{random: {{width: 60}}}}\n")
    done = harness("diff", tiny, other)
    assert done.returncode == 1
    assert done.stdout.strip() == "learners.random.width 50 -> 60"
    same = harness("diff", tiny, tiny)
    assert same.returncode == 0
    assert "no difference" in same.stdout


def test_list_names_every_kind_of_entry():
    examples = {
        "learners": "ech",
        "datasets": "glyphs",
        "attacks": "pgd",
        "protocols": "few_shot",
        "suites": "quickstart",
    }
    for what, name in examples.items():
        rows = json.loads(harness("list", what, "--json").stdout)
        assert name in {row["name"] for row in rows}


def keys_of(*entry: str) -> dict[str, dict]:
    rows = json.loads(harness("list", *entry, "--json").stdout)
    return {row["key"]: row for row in rows}


def test_list_describes_the_keys_of_an_entry():
    keys = keys_of("learners", "mlp")
    assert keys["epochs"]["default"] == "20"
    assert keys["epochs"]["allowed"] == "integer >= 1"
    assert keys["hidden"]["allowed"] == "integer >= 1 | [integer >= 1, ...]"
    assert keys["density"]["allowed"] == "number > 0, <= 1"
    assert keys["optimiser"]["allowed"] == "adam | sgd"
    assert keys["non_negative"]["default"] == "false"
    regime = keys_of("protocols", "few_shot")["regime"]
    assert regime["allowed"] == "from_scratch | semi_supervised | class_transfer"
    for row in keys.values():
        assert row["allowed"] != "any"
        assert row["description"]


def test_list_corrects_names():
    misspelt = harness("list", "learners", "mpl")
    assert misspelt.returncode == 2
    assert "did you mean 'mlp'" in misspelt.stderr
    suite = harness("list", "suites", "quickstart")
    assert suite.returncode == 2
    assert "harness plan quickstart" in suite.stderr


def test_schema_is_json():
    assert json.loads(harness("schema").stdout)["title"] == "harness suite"
