"""What a run shows while it goes on, and its estimate of the time left."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from harness.cells.cell import Cell
from harness.cells.estimate import Expected
from harness.execute import display
from harness.execute.display import Bars, Lines, between, console, duration, show
from harness.execute.time_left import Range


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """However busy the machine of the tests is."""
    monkeypatch.setattr(display, "crowding", lambda workers: 1.0)


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
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def alike(keys: str, seconds: float) -> dict[str, Expected]:
    return {key: Expected(seconds, 0.25, ("a",), "store") for key in keys}


def shown_on(console: Console, keys: str, seconds: float = 10.0):
    return show(console, [cell(key) for key in keys], alike(keys, seconds), workers=1)


def test_no_terminal_gets_a_line_a_cell_with_time_so_far_and_left():
    out = io.StringIO()
    with shown_on(Console(file=out, width=200), "abc") as shown:
        assert isinstance(shown, Lines)
        shown.finished(0, cell("a"), 10.0, None)
        shown.finished(0, cell("b"), 10.0, "ValueError: no")
        shown.finished(0, cell("c"), 10.0, None)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[1/3]   10.0 s  name · few · 5w1s · seed 0  (0 s so far, ")
    assert re.search(r"so far, \d+ - \d+ s left\)$", lines[0])
    assert "FAILED: ValueError: no" in lines[1] and lines[2].endswith("(last one)")


@pytest.mark.parametrize("terminal", [False, True])
def test_cells_that_fail_with_another_are_counted_in_one_line(terminal):
    out = io.StringIO()
    with shown_on(Console(file=out, width=120, force_terminal=terminal), "abcd") as shown:
        shown.finished(0, cell("a"), 10.0, "ValueError: no")
        shown.skipped([cell("b"), cell("c"), cell("d")])
        assert shown.count == 4 and not shown.clock.expected
    assert out.getvalue().count("ValueError: no") == 1
    assert re.search(r"\[4/4\] +and 3 cells that need it", out.getvalue())


def test_nothing_known_is_said_instead_of_a_number():
    guessed = {key: Expected(10.0, 1.1, ("a",), "guess") for key in "ab"}
    bars = show(
        Console(file=io.StringIO(), force_terminal=True), [cell("a"), cell("b")], guessed, 1
    )
    assert bars.bars.tasks[0].fields["note"] == "0 s so far, time left not known yet"


def test_a_log_says_once_a_minute_what_is_running():
    out = io.StringIO()
    shown = shown_on(Console(file=out, width=200), "ab", 600.0)
    now = 0.0
    shown.clock.now = lambda: now
    shown.clock.began = shown.last = 0.0
    shown.started(0, cell("a"))
    for now in range(1, 200):
        shown.progressed(0, now / 600, "read-out")
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert (
        "1 min so far" in lines[0] and "running: name · few · 5w1s · seed 0: read-out" in lines[0]
    )


def test_a_terminal_gets_bars_and_finished_cells_scroll_by():
    out = io.StringIO()
    with shown_on(Console(file=out, force_terminal=True, width=120), "ab") as shown:
        assert isinstance(shown, Bars)
        shown.started(0, cell("a"))
        shown.progressed(0, 0.5, "half way")
        shown.finished(0, cell("a"), 1.0, None)
        shown.bars.refresh()
        shown.finished(0, cell("b"), 1.0, "ValueError: no")
    text = out.getvalue()
    assert "1 of 2 cells" in text
    assert "[1/2]    1.0 s  name · few · 5w1s" in text
    assert "(FAILED: ValueError: no)" in text


def test_bar_and_range_fit_80_columns():
    """The longest that they get: many cells, hours so far, and a cell with a long name and note."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    keys = [f"k{i}" for i in range(12000)]
    expected = {key: Expected(30.0, 0.25, ("a",), "store") for key in keys}
    long = replace(cell("k0"), learner="a learner with quite a long name of its own")
    shown = show(console, [cell(key) for key in keys], expected, 2)
    shown.started(0, long)
    shown.progressed(0, 0.5, "third factor, step 120 of 600")
    shown.bars.update(shown.all, advance=6000)
    shown.clock.began -= 3 * 3600 + 7 * 60
    shown.bars.update(shown.all, note=shown._time_left())
    console.print(shown.bars.get_renderable())
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and all(len(line) <= 80 for line in lines)
    assert "0 of 12000 cells" in lines[0] and lines[0].rstrip().endswith(" left")
    assert "third factor, step 120 of 600" in lines[1]
    assert all("━" in line for line in lines)


def test_a_long_phase_leaves_room_for_the_title_of_its_cell():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    shown = shown_on(console, "a")
    shown.started(0, cell("a"))
    shown.progressed(0, 0.5, "gradient matches the function: black box not stronger")
    console.print(shown.bars.get_renderable())
    assert "name · few · 5w1s" in out.getvalue().splitlines()[1]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 0.3, "0 - 1 s"),
        (4.2, 7.7, "4 - 8 s"),
        (230, 395, "3 min 50 s - 7 min"),
        (241, 395, "4 - 7 min"),
        (7000, 30000, "1 h 55 min - 8 h 20 min"),
        (7300, 86000, "2 - 24 h"),
    ],
)
def test_ranges_in_words_are_rounded_outwards(low, high, words):
    assert between(Range(low, high)) == words


def test_a_notebook_gets_plain_lines_below_its_cell(monkeypatch):
    assert console(False) is None
    assert console(True).stderr
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    shown = console(True)
    assert not shown.stderr and not shown.is_jupyter
    assert isinstance(show(shown, [], {}, 1), Lines)
