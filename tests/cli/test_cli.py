"""The command line as a user meets it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields

import pytest

from harness.records import Record

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 30}
"""
COMMANDS = [
    "run",
    "board",
    "check",
    "submit",
    "paper",
    "plan",
    "validate",
    "schema",
    "list",
    "table",
    "records",
    "compare",
    "diff",
    "show",
    "trust",
    "data",
    "episodes",
    "doctor",
    "store",
    "new",
]
SWEPT = """
name: swept
learners: {pixels: {kind: nearest-mean}}
protocols:
  robust:
    kind: attack_sweep
    dataset: digits
    images: 100
    attacks:
      - {attack: fgsm, eps: [0.1], loss: [margin]}
      - {attack: pgd, label: lame, eps: [0.1], steps: 2, step_size: 0.05, random_start: false}
"""


def harness(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100", **env},
        timeout=120,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(SUITE)
    done = harness("run", folder / "tiny.yaml", "--store", folder / "store")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    (folder / "swept.yaml").write_text(SWEPT)
    assert harness("run", folder / "swept.yaml", "--store", folder / "store").returncode == 0
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command):
    done = harness(command, "--help")
    assert done.returncode == 0
    assert "Example: harness" in done.stdout or command in ("data", "store", "new")


@pytest.mark.parametrize("group", [[], ["data"], ["store"], ["new"]])
def test_what_a_command_does_fits_its_line_in_the_help(group):
    done = harness(*group, "-h", COLUMNS="80")
    commands = done.stdout.partition("Show this message and exit.")[2]
    assert len(commands.splitlines()) > 2 and "..." not in commands


def test_the_release_is_told_and_help_is_of_harness_however_it_was_started():
    assert harness("--version").stdout.startswith("bioharness ")
    assert harness("run", "-h").stdout.startswith("Usage: harness run ")


def test_names_of_others_are_printed_as_they_are():
    from harness.cli.output import grid, out

    with out.capture() as shown:
        out.print("of plug:X: [red]it[/]")
        out.print(grid([{"kind": "plug:X: [red]it[/]"}], "a:X: [b]"))
    assert shown.get().count("plug:X: [red]it[/]") == 2 and "a:X: [b]" in shown.get()


def test_help_and_listing_never_import_torch():
    code = (
        "import sys; sys.argv = ['harness', *sys.argv[1:]]; from harness import cli\n"
        "try: cli.main()\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
    )
    for words in (["--help"], ["list", "learners"], ["list", "attacks"], ["schema"]):
        assert (
            subprocess.run(
                [sys.executable, "-c", code, *words], capture_output=True, check=False
            ).returncode
            == 0
        ), words


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_any_command_that_is_interrupted_says_so_and_leaves_with_130(tmp_path, how):
    (tmp_path / "interrupting.py").write_text(f"import os; os.kill(os.getpid(), {int(how)})")
    (tmp_path / "suite.yaml").write_text(
        SUITE.replace("kind: nearest-mean", "kind: 'interrupting:Learner'")
    )
    done = harness("validate", tmp_path / "suite.yaml")
    assert (
        done.returncode == 130
        and done.stderr.startswith("interrupted; ")
        and "Traceback" not in done.stderr
    )


def test_run_answers_on_stdout_and_talks_on_stderr(ran):
    _, done = ran
    assert "pixels" in done.stdout and "5-way" in done.stdout
    assert (
        "cells computed" in done.stderr
        and "pixels · few" in done.stderr
        and "cells computed" not in done.stdout
    )


def test_run_writes_every_format_and_both_kinds_of_picture(ran):
    folder = ran[0] / "store" / "tables" / "tiny"
    names = {path.name for path in folder.iterdir()}
    assert {
        "few.md",
        "few.csv",
        "few.tex",
        "few.json",
        "few.png",
        "few.pdf",
        "plain.md",
        "records.jsonl",
    } <= names


def test_plan_says_what_is_done(ran, tmp_path):
    folder = ran[0]
    before = json.loads(
        harness("plan", folder / "tiny.yaml", "--store", tmp_path / "new", "--json").stdout
    )
    after = json.loads(
        harness("plan", folder / "tiny.yaml", "--store", folder / "store", "--json").stdout
    )
    assert not any(cell["done"] for cell in before["cells"]) and before["seconds_left"] > 0
    assert all(cell["done"] for cell in after["cells"]) and after["seconds_left"] == 0
    more = json.loads(
        harness(
            "plan",
            folder / "tiny.yaml",
            "--store",
            folder / "store",
            "--set",
            "seeds=[1]",
            "--json",
        ).stdout
    )
    assert more["rough_guesses"] == 0 and 0 < more["seconds_left"] < before["seconds_left"]


def test_table_prints_every_format_without_running(ran):
    folder = ran[0]
    where = (folder / "tiny.yaml", "--store", folder / "store")
    assert "| pixels |" in harness("table", *where, "--format", "markdown").stdout
    assert "\\toprule" in harness("table", *where, "--format", "latex").stdout
    assert "learner," in harness("table", *where, "--format", "csv").stdout
    assert len(json.loads(harness("table", *where, "--format", "json").stdout)) == 2


def test_records_are_json_lines_with_every_field(ran):
    folder = ran[0]
    lines = harness(
        "records", folder / "tiny.yaml", "--store", folder / "store"
    ).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 2 * 3
    for field in fields(Record):
        assert all(field.name in row for row in rows)


def test_nothing_is_lost_when_the_reader_of_the_answers_goes(ran, tmp_path):
    run = f"{sys.executable} -m harness run {ran[0] / 'tiny.yaml'} --store {tmp_path / 'store'}"
    command = ["bash", "-c", f"{run} | true; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and "cells computed" in done.stderr
    assert (tmp_path / "store" / "tables" / "tiny" / "few.md").exists()


def test_list_names_every_room():
    for what, name in (
        ("learners", "ech"),
        ("datasets", "glyphs"),
        ("attacks", "pgd"),
        ("protocols", "few_shot"),
    ):
        assert name in {row["name"] for row in json.loads(harness("list", what, "--json").stdout)}


def test_list_tells_the_keys_of_an_entry_and_what_they_may_be():
    keys = {
        row["key"]: row for row in json.loads(harness("list", "learners", "mlp", "--json").stdout)
    }
    assert (keys["epochs"]["default"], keys["epochs"]["allowed"]) == ("20", "integer >= 1")
    assert (
        keys["hidden"]["allowed"] == "integer >= 1 | [integer >= 1, ...]"
        and keys["density"]["allowed"] == "number > 0, <= 1"
    )
    assert (
        keys["optimiser"]["allowed"] == "adam | sgd" and keys["non_negative"]["default"] == "false"
    )
    regime = next(
        row
        for row in json.loads(harness("list", "protocols", "few_shot", "--json").stdout)
        if row["key"] == "regime"
    )
    assert regime["allowed"] == "from_scratch | semi_supervised | class_transfer"
    assert all(row["allowed"] != "any" and row["description"] for row in keys.values())
    for words, said in (
        (["learners", "mpl"], "did you mean 'mlp'"),
        (["suites", "quickstart"], "harness plan quickstart"),
    ):
        wrong = harness("list", *words)
        assert wrong.returncode == 2 and said in wrong.stderr


def test_validate_names_every_fault(tmp_path):
    (tmp_path / "good.yaml").write_text(SUITE)
    (tmp_path / "bad.yaml").write_text(
        SUITE.replace("width", "widht").replace("ways: 5", "ways: 500").replace("seeds", "sedes")
    )
    done = harness("validate", tmp_path / "good.yaml", tmp_path / "bad.yaml")
    assert (
        done.returncode == 2
        and done.stdout == f"{tmp_path}/good.yaml: good: 2 learners, 2 protocols\n"
    )
    faults = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    assert [fault.split(": ", 1)[1] for fault in faults] == [
        "unknown key 'widht'",
        "500 ways, but classes/test has 5 classes",
    ]
    good, bad = json.loads(
        harness("validate", tmp_path / "good.yaml", tmp_path / "bad.yaml", "--json").stdout
    )
    assert (
        good["good"]
        and not bad["good"]
        and [each["message"] for each in bad["faults"]]
        == [fault.split(": ", 1)[1] for fault in faults]
    )


def test_schema_is_json():
    assert json.loads(harness("schema").stdout)["title"] == "harness suite"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: cannot read it"),
        (["validate", "nowhere.yaml"], "nowhere.yaml: cannot read it"),
        (["run", "{suite}", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["run", "{suite}", "--store", "{suite}/store"], "cannot write the store"),
        (["data", "path", "omnigolt"], "did you mean 'omniglot'"),
        (["data", "path", "mnist"], "mnist"),
        (["run", "{suite}", "--set", "learners.pixels.hid=1"], "unknown key 'hid'"),
        (["plan", "{suite}", "--set", "protocols.plain.dataset=mnist"], "mnist"),
        (["nonsense"], "nonsense"),
        (["run", "{suite}", "--workers", "0"], "--workers"),
    ],
)
def test_bad_input_is_one_message_and_status_2(ran, tmp_path, words, says):
    words = [word.format(suite=ran[0] / "tiny.yaml") for word in words]
    done = harness(*words, HARNESS_DATA=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_missing_dataset_says_how_to_get_it(ran, tmp_path):
    done = harness(
        "run",
        ran[0] / "tiny.yaml",
        "--set",
        "protocols.plain.dataset=omniglot",
        "--set",
        "protocols.plain.kind=few_shot",
        HARNESS_DATA=str(tmp_path),
    )
    assert (
        done.returncode == 2
        and "harness data import omniglot" in done.stderr
        and "images_background.zip" in done.stderr
    )


def test_trust_names_what_failed_and_is_a_gate(swept):
    suite, store = swept / "swept.yaml", swept / "store"
    done = harness("trust", suite, "--store", store)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for words in ("lame", "fgsm", "FAIL", "FGSM"):
        assert words in done.stdout
    alone = "protocols.robust.attacks=[{attack: fgsm, eps: [0.1], loss: [margin]}]"
    sound = harness("trust", suite, "--store", store, "--set", alone)
    assert sound.returncode == 0 and "1 attack sweeps: 0 failed" in sound.stdout


def test_trust_says_of_a_store_what_it_says_of_a_suite(swept):
    suite = json.loads(
        harness("trust", swept / "swept.yaml", "--store", swept / "store", "--json").stdout
    )
    done = harness("trust", swept / "store", "--json")
    store = json.loads(done.stdout)
    assert done.returncode == 1 and {row["cell"] for row in suite} == {row["cell"] for row in store}
    for row in suite:
        own = next(other for other in store if other["cell"] == row["cell"])
        names = {check["name"] for check in own["checks"]}
        assert own["checks"] == [
            check for check in row["checks"] if check["name"] in names
        ]  # a suite adds those across attacks
        assert (row["learner"], own["learner"], own["protocol"]) == (
            "pixels",
            "nearest-mean",
            "digits",
        )
    assert [row["level"] for row in suite if row["attack"] == "lame"] == ["FAIL"]
    failed = [check for row in suite for check in row["checks"] if check["level"] == "FAIL"]
    assert failed and all(any(letter.isdigit() for letter in check["detail"]) for check in failed)


def test_trust_of_nothing_is_no_pass(ran, tmp_path):
    for words in (
        (ran[0] / "store",),
        (tmp_path,),
        (ran[0] / "tiny.yaml", "--store", ran[0] / "store"),
        (tmp_path / "no.yaml",),
    ):
        done = harness("trust", *words)
        assert done.returncode == 2 and "harness" in done.stderr and "Traceback" not in done.stderr


def test_records_can_be_chosen_and_written_flat(ran, tmp_path):
    here = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    done = harness("records", *here, "--query", "learner == 'random' and setting_shots == 2")
    assert [json.loads(line)["setting_shots"] for line in done.stdout.splitlines()] == [2]
    assert harness("records", *here, "--out", tmp_path / "all.csv").returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 6
    assert len(harness("records", ran[0] / "store").stdout.splitlines()) == 6
    exact = {
        line["value"] for line in map(json.loads, harness("records", *here).stdout.splitlines())
    }
    flat = [
        json.loads(line)
        for line in harness("records", *here, "--query", "value >= 0").stdout.splitlines()
    ]
    assert {row["value"] for row in flat} == exact and "torch" in json.loads(flat[0]["versions"])
    assert harness("records", *here, "--query", "learner == 'nobody'").stdout == ""
    none = harness("records", ran[0] / "tiny.yaml", "--store", tmp_path / "none")
    assert none.stdout == "" and "harness run" in none.stderr
    for words in (
        ["--query", "nothing =="],
        ["--query", "no_column > 1"],
        ["--query", "learner"],
        ["--out", tmp_path / "all.xyz"],
    ):
        wrong = harness("records", *here, *words)
        assert wrong.returncode == 2 and "Traceback" not in wrong.stderr


def test_parquet_needs_pyarrow_and_says_so(ran, tmp_path):
    done = harness("records", ran[0] / "store", "--out", tmp_path / "all.parquet")
    if importlib.util.find_spec("pyarrow"):
        assert done.returncode == 0 and (tmp_path / "all.parquet").exists()
    else:
        assert done.returncode == 2 and "pip install pyarrow" in done.stderr


def test_two_learners_are_compared_pair_by_pair(ran):
    here = ("--suite", ran[0] / "tiny.yaml", "--store", ran[0] / "store", "--json")
    lines = json.loads(harness("compare", "pixels", "random", *here).stdout)
    assert len(lines) == 3 and all(line["paired"] for line in lines)
    assert all(
        abs(line["difference"] - (line["b"] - line["a"])) < 1e-9 and line["low"] < line["high"]
        for line in lines
    )
    wrong = harness("compare", "pixels", "randm", *here)
    assert wrong.returncode == 2 and "did you mean 'random'" in wrong.stderr


def test_a_run_against_itself_has_no_difference(ran):
    path = ran[0] / "tiny.yaml"
    lines = json.loads(harness("compare", path, path, "--store", ran[0] / "store", "--json").stdout)
    assert len(lines) == 6 and {line["difference"] for line in lines} == {0.0}


def test_diff_is_of_suites_as_resolved(ran, tmp_path):
    (tmp_path / "other.yaml").write_text(
        f"extends: {ran[0] / 'tiny.yaml'}\nlearners: {{random: {{width: 60}}}}\n"
    )
    done = harness("diff", ran[0] / "tiny.yaml", tmp_path / "other.yaml")
    assert done.returncode == 1 and done.stdout.strip() == "learners.random.width 50 -> 60"
    same = harness("diff", ran[0] / "tiny.yaml", ran[0] / "tiny.yaml")
    assert same.returncode == 0 and "no difference" in same.stdout


def test_show_prints_a_cell_by_the_start_of_its_key(ran):
    key = next((ran[0] / "store" / "cells").iterdir()).name
    shown = json.loads(harness("show", key[:10], "--store", ran[0] / "store").stdout)
    assert shown["key"] == key and shown["identity"]["learner"]["kind"] in (
        "nearest-mean",
        "random-features",
    )
    assert harness("show", "zz", "--store", ran[0] / "store").returncode == 2


def test_load_gives_a_frame_of_a_suite_or_a_store(ran):
    import harness as front

    suite, store = (
        front.load(ran[0] / "tiny.yaml", store=ran[0] / "store"),
        front.load(ran[0] / "store"),
    )
    assert len(suite) == len(store) == 6 and sorted(suite["value"]) == sorted(store["value"])
    assert set(suite["learner"]) == {"pixels", "random"} and suite["setting_shots"].max() == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["table", "tiny.yaml", "--store", "tiny.yaml"],
            "tiny.yaml: a store is a folder, and this is a file",
        ),
        (["table", "tiny.yaml", "--store", ""], "--store: the store is an empty string"),
        (
            ["run", "tiny.yaml", "--store", "ftp://localhost:1/x"],
            "ftp://localhost:1/x: cannot open it",
        ),
        (["store", "verify", "misspelt"], "misspelt: no store: there is no such folder"),
        (["store", "verify", "."], ".: no store: the folder has neither cells nor packs"),
        (["trust", "tiny.yaml", "--store", "store"], "tiny: it has no attack sweep"),
        (["store", "gc", "tiny.yaml"], "tiny.yaml: no store"),
        (["trust", "a" * 5000], "File name too long"),
        (["records", "a" * 5000], "File name too long"),
    ],
)
def test_stores_and_paths_that_cannot_be_are_one_error(ran, monkeypatch, words, said):
    monkeypatch.chdir(ran[0])
    before = sorted(os.listdir())
    done = harness(*words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, (
        done.stderr
    )
    assert sorted(os.listdir()) == before


def test_a_store_at_a_file_url_has_its_tables_in_it(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = harness("run", ran[0] / "tiny.yaml", "--store", f"file://{tmp_path}/store")
    assert done.returncode == 0 and os.listdir(tmp_path) == ["store"], done.stderr
    assert (tmp_path / "store" / "tables" / "tiny" / "plain.md").exists()
