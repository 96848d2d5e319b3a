"""What holds for every command: help, interrupts, and one message on bad input."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from cli_kit import SUITE
from command_kit import harness, harness_process

from harness.cli.app import GROUPS

COMMANDS = [
    "run",
    "board",
    "check",
    "submit",
    "fill",
    "verify",
    "paper",
    "images",
    "optimality",
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
    "streams",
    "doctor",
    "store",
    "new",
    "export",
    "examples",
    "summary",
]
HAVE_COMMANDS = ("data", "store", "new", "export")
"""Commands with commands of their own, which have the examples."""


def commands_in(shown: str) -> list[str]:
    """Lines of a help text that name commands."""
    listing = shown.partition("Show this message and exit.")[2]
    return [line for line in listing.splitlines() if line.startswith("  ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command):
    done = harness(command, "--help")
    assert done.returncode == 0
    assert "Example: harness" in done.stdout or command in HAVE_COMMANDS


def test_help_lists_every_command_under_a_heading():
    shown = harness("--help").stdout
    listed = [line.split()[0] for line in commands_in(shown)]
    assert sorted(listed) == sorted(COMMANDS)
    places = [shown.index(f"\n{heading}:\n") for heading in GROUPS]
    assert places == sorted(places)
    assert "\nCommands:\n" not in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_to_write_and_leaks_no_types(command):
    listed = commands_in(harness(command, "-h").stdout)
    inner = [line.split()[0] for line in listed] if command in HAVE_COMMANDS else []
    for words in [[command], *([command, name] for name in inner)]:
        shown = harness(*words, "-h").stdout
        assert not re.search(r"<[a-z ]+>|[{}]", shown), shown


@pytest.mark.parametrize("group", [[], ["data"], ["store"], ["new"], ["export"]])
def test_what_a_command_does_fits_its_line_in_the_help(group):
    lines = commands_in(harness(*group, "-h", COLUMNS="80").stdout)
    assert len(lines) >= 2
    assert all(len(line) <= 80 and "..." not in line for line in lines)


def test_version_and_help_name_harness_however_it_was_started():
    assert harness_process("--version").stdout.startswith("bioharness ")
    assert harness_process("run", "-h").stdout.startswith("Usage: harness run ")


def test_names_of_users_are_printed_as_they_are(capsys):
    from harness.cli import listing
    from harness.cli.output import out

    with out.capture() as shown:
        out.print("of plug:X: [red]it[/]")
        listing.show([{"kind": "plug:X: [red]it[/]"}], "a:X: [b]")
    assert shown.get() == "of plug:X: [red]it[/]\n"
    assert capsys.readouterr().out == "kind\nplug:X: [red]it[/]\n"


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], ("torch", "numpy", "pandas", "matplotlib")),
        (["list", "learners"], ("torch", "pandas", "matplotlib")),
        (["list", "attacks"], ("torch", "pandas", "matplotlib")),
        (["schema"], ("torch", "pandas", "matplotlib")),
    ],
)
def test_help_and_listing_never_import_what_is_slow(words, heavy):
    code = f"""
import sys
from harness.cli import main
sys.argv = ["harness", *{words!r}]
try:
    main()
except SystemExit:
    pass
print("imported:", *sorted(set({heavy!r}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1].split() == ["imported:"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_any_command_that_is_interrupted_says_so_and_ends_with_130(tmp_path, how):
    (tmp_path / "interrupting.py").write_text(f"import os; os.kill(os.getpid(), {int(how)})")
    suite = SUITE.replace("kind: nearest-mean", "kind: 'interrupting:Learner'")
    (tmp_path / "suite.yaml").write_text(suite)
    done = harness_process("validate", tmp_path / "suite.yaml")
    assert done.returncode == 130
    assert done.stderr.startswith("interrupted; ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
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
def test_bad_input_is_one_message_and_status_2(ran, tmp_path, words, message):
    words = [word.format(suite=ran[0] / "tiny.yaml") for word in words]
    done = harness(*words, HARNESS_DATA=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_dataset_says_how_to_get_it(ran, tmp_path):
    omniglot = ["--set", "protocols.plain.dataset=omniglot"]
    few_shot = ["--set", "protocols.plain.kind=few_shot"]
    done = harness("run", ran[0] / "tiny.yaml", *omniglot, *few_shot, HARNESS_DATA=str(tmp_path))
    assert done.returncode == 2
    assert "harness data import omniglot" in done.stderr
    assert "images_background.zip" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
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
        (["trust", "tiny.yaml", "--store", "store"], "tiny: the suite has no attack sweep"),
        (["store", "gc", "tiny.yaml"], "tiny.yaml: no store"),
        (["trust", "a" * 5000], "File name too long"),
        (["records", "a" * 5000], "File name too long"),
    ],
)
def test_impossible_stores_and_paths_are_one_error(ran, monkeypatch, words, message):
    monkeypatch.chdir(ran[0])
    before = sorted(os.listdir())
    done = harness(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir()) == before
