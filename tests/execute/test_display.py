"""What a run shows while it goes on, and its estimate of the time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.cells.cell import Cell
from harness.cells.estimate import expected_seconds
from harness.execute.display import Bars, Lines, console, duration, show
from harness.storage.store import CellResult, Store


def cell(key, role="measure", learner="mlp", dataset="digits"):
    identity = {
        "seed": 0,
        "role": role,
        "learner": {"kind": learner, "config": {}},
        "dataset": {"kind": dataset, "config": {}, "content": "0"},
        "device": "cpu",
        "protocol": {"kind": "few_shot"},
        "setting": {},
        "training": None,
    }
    return Cell(key, role, identity, None, "name", "few", "5w1s")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_no_terminal_gets_a_line_a_cell_with_what_is_left():
    out = io.StringIO()
    with show(
        Console(file=out, width=200), 3, {"a": 10.0, "b": 10.0, "c": 10.0}, workers=1
    ) as shown:
        assert isinstance(shown, Lines)
        shown.finished(0, cell("a"), 10.0, None)
        shown.finished(0, cell("b"), 10.0, "ValueError: no")
        shown.finished(0, cell("c"), 10.0, None)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[1/3]   10.0 s  name · few · 5w1s · seed 0") and lines[0].endswith(
        "(about 20 s left)"
    )
    assert "FAILED: ValueError: no" in lines[1] and lines[2].endswith("(last one)")


def test_time_left_learns_from_how_expectations_held():
    out = io.StringIO()
    with Lines(Console(file=out, width=200), 4, dict.fromkeys("abcd", 10.0), 2) as shown:
        shown.finished(0, cell("a"), 30.0, None)
        shown.finished(0, cell("b"), 30.0, None)
    assert (
        out.getvalue().splitlines()[1].endswith("(about 30 s left)")
    )  # 2 cells of 30 s on 2 workers


def test_a_terminal_gets_bars():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with show(console, 2, {"a": 1.0, "b": 1.0}, 1) as shown:
        assert isinstance(shown, Bars)
        shown.started(0, cell("a"))
        shown.progressed(0, 0.5, "half way")
        shown.finished(0, cell("a"), 1.0, None)
        shown.bars.refresh()
        shown.finished(0, cell("b"), 1.0, "ValueError: no")
    assert (
        "name · few · 5w1s" in out.getvalue()
        and "1/2" in out.getvalue()
        and "FAILED name" in out.getvalue()
    )


def test_expectations_come_from_like_cells(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    for number, seconds in enumerate((2.0, 4.0, 60.0)):
        store.write(f"k{number}", CellResult(cell("x").identity, wall_s=seconds), {})
    expected, guesses = expected_seconds(
        [cell("a"), cell("b", dataset="mnist5k"), cell("c", role="train")], store
    )
    assert expected["a"] == expected["b"] == 4.0 and guesses == 1 and expected["c"] > 0


def test_a_notebook_gets_plain_lines_below_its_cell(monkeypatch):
    assert console(False) is None
    assert console(True).stderr
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    shown = console(True)
    assert not shown.stderr and not shown.is_jupyter
    assert isinstance(show(shown, 1, {}, 1), Lines)
