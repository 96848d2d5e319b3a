"""The range of the time left, on a clock that the tests move: does it hold the true time?"""

from __future__ import annotations

import csv
import heapq
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.cells import estimate
from harness.cells.cell import Cell
from harness.cells.estimate import Expected
from harness.execute.display import rounded
from harness.execute.time_left import Range, TimeLeft


def cell(key: str, needs: str | None = None) -> Cell:
    identity = {"seed": 0, "role": "measure", "training": needs}
    return Cell(key, "measure", identity, needs, "rule", "clean", "")


@dataclass
class Moment:
    """What was stated at a time, and what was true.

    Attributes:
        share: of the run that was over.
    """

    share: float
    left: float
    stated: Range | None


def simulate(
    seconds: dict[str, float],
    expected: dict[str, Expected],
    workers: int = 2,
    slowdown: Callable[[float], float] = lambda share: 1.0,
    running: int | None = None,
    report: bool = False,
) -> list[Moment]:
    """Run cells of known times and ask for the time left every few seconds.

    Args:
        seconds: key -> true seconds; cells run in this order.
        expected: key -> expectation.
        workers: that the run is said to have.
        slowdown: factor on the time of a cell that starts after this share of all cells.
        running: workers that it really has.
        report: whether cells report the fraction that they have computed.
    """
    now = 0.0
    clock = TimeLeft([cell(key) for key in seconds], expected, workers, now=lambda: now)
    todo = list(seconds)
    busy: list[tuple[float, int, str, float]] = []
    moments: list[tuple[float, Range | None]] = []
    while todo or busy:
        while todo and len(busy) < (running or workers):
            key = todo.pop(0)
            took = seconds[key] * slowdown(1 - len(todo) / len(seconds))
            heapq.heappush(busy, (now + took, len(todo), key, took))
            clock.started(key)
        end, _, key, took = busy[0]
        step = max(1.0, 0.01 * sum(seconds.values()) / workers)
        while now + step < end:
            now += step
            for until, _, other, its in busy if report else []:
                clock.progressed(other, 1 - (until - now) / its)
            moments.append((now, clock.range()))
        heapq.heappop(busy)
        now = end
        clock.finished(key, took, counts=True)
        moments.append((now, clock.range()))
    return [Moment(when / now, now - when, stated) for when, stated in moments]


def held(moments: list[Moment]) -> float:
    """Share of moments after the first tenth whose range holds the true time left."""
    judged = [each for each in moments if each.share > 0.1]
    inside = [
        each.stated is not None and each.stated.low - 1 <= each.left <= each.stated.high + 1
        for each in judged
    ]
    return sum(inside) / len(judged)


def width(moments: list[Moment]) -> float:
    """Median of high over low, in the middle of the run."""
    ratios = [
        each.stated.high / each.stated.low
        for each in moments
        if each.stated and 0.1 < each.share < 0.8
    ]
    return float(np.median(ratios))


def alike(number: int, seconds: float, doubt: float = 0.25) -> dict[str, Expected]:
    return {f"c{i}": Expected(seconds, doubt, ("a",), "store") for i in range(number)}


def test_constant_rates_give_a_narrow_range_that_holds():
    moments = simulate(dict.fromkeys(alike(40, 10.0), 10.0), alike(40, 10.0))
    assert held(moments) >= 0.95
    assert width(moments) < 1.6


def test_a_guess_that_is_off_by_five_is_corrected_by_the_first_cells():
    moments = simulate(dict.fromkeys(alike(40, 2.0), 10.0), alike(40, 2.0, doubt=1.1))
    assert held(moments) >= 0.9
    assert width(moments) < 1.8


def test_a_machine_that_slows_down_is_followed():
    moments = simulate(
        dict.fromkeys(alike(60, 10.0), 10.0),
        alike(60, 10.0),
        slowdown=lambda share: 2.0 if share > 0.3 else 1.0,
    )
    late = [each for each in moments if each.share > 0.45]
    assert held(late) >= 0.8


def uneven(seed: int) -> list[Moment]:
    """A run of three kinds of cells, whose times were guessed at a factor of two or so."""
    draws = np.random.default_rng(seed)
    expected, seconds = {}, {}
    for kind, typical in enumerate((1.0, 8.0, 40.0)):
        off = float(np.exp(0.8 * draws.standard_normal()))
        for i in range(12):
            key = f"k{kind}-{i}"
            expected[key] = Expected(typical, 1.1, (str(kind),), "guess")
            seconds[key] = typical * off * float(np.exp(0.3 * draws.standard_normal()))
    order = sorted(seconds, key=lambda key: expected[key].seconds, reverse=True)
    return simulate({key: seconds[key] for key in order}, expected)


def test_uneven_cells_of_several_kinds_are_held():
    assert np.mean([held(uneven(seed)) for seed in range(4)]) >= 0.75


def recorded(name: str) -> list[Moment]:
    """The moments of a real run, whose cells started and ended when they did.

    Rows of its file: start, seconds, expected seconds (a guess), row of the cell that it needs,
    likeness.
    """
    now = 0.0
    text = (Path(__file__).parent / "traces" / f"{name}.tsv").read_text()
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    cells, expected, events = [], {}, []
    for place, row in enumerate(rows):
        like = tuple(row["like"].split(" "))
        guess = (float(row["expected"]), estimate.DOUBTS["guess"][0], like, "guess")
        expected[str(place)] = Expected(*guess, estimate.group_of(like))
        cells.append(cell(str(place), row["needs"] or None))
        start, seconds = float(row["start"]), float(row["seconds"])
        events += [(start, 1, str(place), seconds), (start + seconds, 0, str(place), seconds)]
    clock = TimeLeft(cells, expected, 2, now=lambda: now)
    moments = []
    for now, is_start, key, seconds in sorted(events):
        if is_start:
            clock.started(key)
        else:
            clock.finished(key, seconds, counts=True)
        if not moments or now - moments[-1][0] > 0.5:
            bounds = clock.range()
            moments.append((now, bounds and rounded(bounds)))
    return [Moment(when / now, now - when, stated) for when, stated in moments]


@pytest.mark.parametrize("suite", ["ci", "quickstart"])
def test_a_recorded_run_on_an_idle_machine_is_held_from_guesses_alone(suite):
    moments = recorded(suite)
    assert held(moments) >= 0.8
    assert width(moments) < 3.6


def test_a_kind_that_is_off_by_a_thousand_does_not_drag_the_others_along():
    """As an untrained learner does, whose training was taken for one of an hour."""
    expected = {f"c{i}": Expected(600.0, 0.65, (f"k{i}",), "learned") for i in range(20)}
    cells = [cell(key) for key in expected]
    now = 0.0
    clock = TimeLeft(cells, expected, 1, now=lambda: now)
    before = clock.bounds()
    clock.started("c0")
    now = 0.6
    clock.finished("c0", 0.6, counts=True)
    assert clock.bounds().low > 0.6 * before.low


def test_guesses_are_means_so_the_middle_of_the_range_is_not_above_their_sum():
    """The mean of a lognormal number is above its median; a sum of many is near the mean."""
    expected = {f"c{i}": Expected(60.0, 1.1, (f"k{i}",), "guess") for i in range(200)}
    clock = TimeLeft([cell(key) for key in expected], expected, 1, now=lambda: 0.0)
    bounds = clock.bounds()
    assert 0.5 < math.sqrt(bounds.low * bounds.high) / (200 * 60.0) < 1.2


def test_many_short_cells_take_no_more_than_they_do():
    """What is added to seconds to compare short cells is not part of their time."""
    expected = {f"c{i}": Expected(0.05, 0.25, ("a",), "store") for i in range(500)}
    clock = TimeLeft([cell(key) for key in expected], expected, 1, now=lambda: 0.0)
    bounds = clock.bounds()
    assert 0.5 < math.sqrt(bounds.low * bounds.high) / (500 * 0.05) < 1.5


def test_a_resumed_run_knows_its_cells_from_the_start():
    first = simulate(dict.fromkeys(alike(20, 10.0), 11.0), alike(20, 10.0))[0]
    assert first.stated is not None
    assert first.stated.low < first.left < first.stated.high


def test_nothing_is_stated_before_anything_is_known():
    moments = simulate(dict.fromkeys(alike(20, 10.0), 30.0), alike(20, 10.0, doubt=1.1))
    before = [each for each in moments if each.left > 270]
    assert all(each.stated is None for each in before)


def test_workers_that_really_run_count():
    seconds = dict.fromkeys(alike(40, 10.0), 10.0)
    moments = simulate(seconds, alike(40, 10.0), workers=8, running=2)
    assert held(moments) >= 0.8


def test_a_cell_that_takes_far_longer_than_its_like_moves_the_range_on():
    """The time left of an overdue cell grows with the time that it has taken."""
    seconds = {**dict.fromkeys(alike(10, 10.0), 10.0), "last": 300.0}
    expected = {**alike(10, 10.0), "last": Expected(10.0, 0.25, ("a",), "store")}
    moments = simulate(seconds, expected, workers=1)
    overdue = [each.stated for each in moments if 0.7 < each.share < 0.95]
    assert all(each is None or each.high > 20 for each in overdue)


def test_the_report_of_a_long_cell_counts():
    expected = {"long": Expected(20.0, 1.1, ("a",), "guess")}
    silent = simulate({"long": 400.0}, expected, workers=1)
    told = simulate({"long": 400.0}, expected, workers=1, report=True)
    assert held(told) > 0.8 > held(silent)


def test_the_longest_chain_bounds_the_time_left():
    expected = {
        "train": Expected(100.0, 0.25, ("train",), "store"),
        "measure": Expected(100.0, 0.25, ("measure",), "store"),
    }
    chained = TimeLeft([cell("train"), cell("measure", "train")], expected, 8, now=lambda: 0.0)
    apart = TimeLeft([cell("train"), cell("measure")], expected, 8, now=lambda: 0.0)
    assert chained.bounds().low > 1.5 * apart.bounds().low
    assert chained.bounds().high > 1.5 * apart.bounds().high


def test_cells_of_another_run_count_as_work_that_is_over():
    now = 0.0
    expected = alike(40, 10.0)
    alone = TimeLeft([cell(key) for key in expected], expected, 1, now=lambda: now)
    shared = TimeLeft([cell(key) for key in expected], expected, 1, now=lambda: now)
    for i in range(10):
        alone.started(f"c{i}")
        shared.started(f"c{i}")
        now += 10.0
        alone.finished(f"c{i}", 10.0, counts=True)
        shared.finished(f"c{i}", 10.0, counts=True)
        shared.finished(f"c{i + 10}", 0.0, counts=True)
    assert shared.bounds().high < 0.7 * alone.bounds().high


def test_failed_cells_tell_nothing_of_the_others():
    now = 0.0
    expected = alike(10, 10.0)
    clock = TimeLeft([cell(key) for key in expected], expected, 1, now=lambda: now)
    clock.started("c0")
    now += 0.1
    clock.finished("c0", 0.1, counts=False)
    assert clock.bounds().low > 50
    assert not clock.ratios


def test_the_same_moment_gives_the_same_range():
    expected = alike(10, 10.0)
    clock = TimeLeft([cell(key) for key in expected], expected, 2, now=lambda: 0.0)
    assert clock.range() == clock.range()


def test_a_busy_machine_is_expected_to_take_longer_and_less_surely():
    expected = alike(10, 10.0)
    cells = [cell(key) for key in expected]
    idle = TimeLeft(cells, expected, 2, crowd=1.0, now=lambda: 0.0).bounds()
    busy = TimeLeft(cells, expected, 2, crowd=4.0, now=lambda: 0.0).bounds()
    assert busy.high > 1.5 * idle.high
    assert busy.high / busy.low > idle.high / idle.low
