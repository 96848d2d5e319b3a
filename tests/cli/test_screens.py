"""Whole screens at 80, 120 and 200 columns, as they were when somebody last looked at them.

Digits and keys are masked: what a number is, other tests say. After a change of what is printed:
HARNESS_SCREENS=write pytest tests/cli/test_screens.py, then look at what git says has changed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from command_kit import harness

from harness.cli import output, trust_page
from harness.records import TrustCheck
from harness.report.trusted import Row

WIDTHS = (80, 120, 200)
SCREENS = Path(__file__).parent / "screens"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
KEY = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8}\b")


def masked(text: str) -> str:
    """A screen without styles, keys and digits, and without blanks at the ends of lines."""
    plain = re.sub(r"\d", "9", KEY.sub("xxxxxxxx", ANSI.sub("", text)))
    return "\n".join(line.rstrip() for line in plain.splitlines()) + "\n"


@pytest.fixture(autouse=True)
def width_of_the_environment(monkeypatch):
    """Consoles keep the COLUMNS that they were made under, which may be another test's."""
    for console in (output.out, output.err):
        monkeypatch.setattr(console, "_width", None)


@pytest.fixture(scope="module")
def commands(ran, tmp_path_factory):
    """Name of a screen -> the words of its command."""
    tiny = (ran[0] / "tiny.yaml", "--store", ran[0] / "store")
    return {
        "list": ("list", "learners", "random-features"),
        "plan": ("plan", ran[0] / "tiny.yaml", "--store", tmp_path_factory.mktemp("empty")),
        "table": ("table", *tiny),
        "compare": ("compare", "pixels", "random", "--suite", *tiny),
    }


def check(name: str, columns: int, text: str) -> None:
    shown = masked(text)
    assert all(len(line) <= columns for line in shown.splitlines())
    file = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("HARNESS_SCREENS") == "write":
        file.write_text(shown, "utf-8")
    assert shown == file.read_text("utf-8"), f"{file.name}: see the top of {Path(__file__).name}"


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", ["list", "plan", "table", "compare"])
def test_a_screen_is_as_it_was(commands, name, columns):
    done = harness(*commands[name], COLUMNS=str(columns), TTY_COMPATIBLE="1", TERM="xterm")
    assert done.returncode == 0, done.stderr
    check(name, columns, done.stdout)


CHECKS = (
    TrustCheck("not constant", "PASS", "logits differ by 3.1"),
    TrustCheck("scale", "WARN", "PGD on rescaled logits breaks 12 % of 25 at eps 0.2"),
    TrustCheck("converged", "FAIL", "ten times the steps break 7 of 40 survivors at eps 0.1"),
)
ROWS = [
    Row("a rule with quite a long name", "robust", "pgd-20", 0, "0" * 64, "FAIL", CHECKS),
    Row("backprop", "robust", "pgd-20", 0, "1" * 64, "PASS", CHECKS[:1]),
]


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_trust_page_is_as_it_was(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has 80 columns
    trust_page.show(ROWS, whole=False)
    check("trust", columns, capsys.readouterr().out)
