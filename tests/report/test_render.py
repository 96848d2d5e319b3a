"""Each format says the same, escapes what it must, and repeats its bytes."""

from __future__ import annotations

import csv
import io
import json
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, record, results_of, sweep
from rich.console import Console

from harness.errors import HarnessError
from harness.metrics.statistics import share_interval, wilson
from harness.report import frames
from harness.report.formats import error_bar
from harness.report.render import FORMATS, render, to_rich
from harness.report.tables import build, write_tables
from harness.suite.specs.tables import TableSpec

SPEC = TableSpec(protocol="robust", columns=["attack", "eps"])


def robust():
    """Two learners, one distrusted, one cell missing."""
    right = [1] * 90 + [0] * 10
    return results_of(
        sweep("ech", "pgd", {0.0: [1] * 100, 0.1: right}),
        sweep("bp", "pgd", {0.0: right}),
        sweep("odd", "pgd", {0.0: [0] * 100, 0.1: [0] * 100}, trust="FAIL"),
    )


def test_markdown_golden():
    assert (
        render(build(robust(), SPEC), "markdown")
        == """\
### suite: robust (accuracy, %)

| learner | clean | pgd, eps 0.1 |
| :--- | ---: | ---: |
| ech | **100.0** −3.7 | 90.0 ±7.4 |
| bp | 90.0 ±7.4 | – |
| odd † | 0.0 +3.7 | 0.0 +3.7 |

- ±: 95 % Wilson interval over test images; the longer side if they differ; \
+ or − alone: the only side.
- Bold: the best of each column and all that are not shown to be worse. With a probability of \
95 % a column's bold numbers include every row that is truly the best (differences paired by \
image, corrected for all pairs); rows marked † are excluded.
- One seed (0): these numbers compare trained networks, not learners, because other seeds would \
train other networks.
- Protocol: split: test; steps: 20.
"""
    )


@given(st.integers(1, 300), st.data())
def test_error_bars_reach_the_farther_bound_and_no_impossible_value(n, data):
    right = data.draw(st.integers(0, n))
    low, high = wilson(right, n)
    below, above = 100 * (right / n - low), 100 * (high - right / n)
    arms = error_bar("accuracy", right / n, low, high)
    sides = re.fullmatch(r"±([\d.]+)|(?:\+([\d.]+))?(?:−([\d.]+))?", arms)
    both, up, down = (float(side) if side else None for side in sides.groups())
    if both is not None:
        assert both == pytest.approx(max(below, above), abs=0.051)
        assert 100 * right / n - both >= -0.051 and 100 * right / n + both <= 100.051
    assert up is None or up == pytest.approx(above, abs=0.051)
    assert down is None or down == pytest.approx(below, abs=0.051)
    assert (arms[0] == "−") == (right == n) and (down is None and both is None) == (right == 0)


def test_a_symmetric_interval_prints_half_its_width():
    table = build(
        results_of(episodes("a", [0.2, 0.4, 0.9])),
        TableSpec(protocol="few", columns=["ways", "shots"]),
    )
    low, high = share_interval([0.2, 0.4, 0.9])
    assert f"| 50.0 ±{50 * (high - low):.1f} |" in render(table, "markdown")
    assert table.notes == ("±: 95 % t interval over episodes.",)


def test_csv_is_tidy_and_exact():
    rows = list(csv.DictReader(io.StringIO(render(build(robust(), SPEC), "csv"))))
    assert [
        (r["learner"], r["attack"], r["eps"], r["value"], r["best"], r["trust"]) for r in rows
    ] == [
        ("ech", "clean", "0", "1.0", "1", "PASS"),
        ("ech", "pgd", "0.1", "0.9", "0", "PASS"),
        ("bp", "clean", "0", "0.9", "0", "PASS"),
        ("odd", "clean", "0", "0.0", "0", "FAIL"),
        ("odd", "pgd", "0.1", "0.0", "0", "FAIL"),
    ]
    assert float(rows[1]["low"]) < 0.9 < float(rows[1]["high"]) and rows[1]["seeds"] == "0"


def test_json_parses_and_has_no_nan():
    results = results_of(
        [(record("a", {}, float("nan"), metric="ks_log_w", protocol="audit"), None)]
    )
    whole = json.loads(
        render(build(results, TableSpec(protocol="audit", columns=["metric"])), "json"),
        parse_constant=lambda word: pytest.fail(word),
    )
    assert whole["cells"][0][0]["value"] is None and whole["rows"] == [["a"]]


def test_unknown_format_is_explained():
    with pytest.raises(HarnessError, match="did you mean 'markdown'"):
        render(build(robust(), SPEC), "markdwon")


# ----------------------------------------------------------------------------------------- terminal


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_never_truncates_numbers(width):
    cells = [
        sweep(
            f"learner-{i}",
            attack,
            {e / 10: [1] * (90 - 10 * e) + [0] * (10 + 10 * e) for e in range(5)},
        )
        for i in range(3)
        for attack in ("fgsm", "pgd", "square")
    ]
    out = io.StringIO()
    Console(file=out, width=width).print(to_rich(build(results_of(*cells), SPEC)))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert (
        text.count("50.0 ±9.6") == 3 * 4 and "…" not in text
    )  # eps 0.4 of three attacks and the worst, three learners


def test_the_terminal_shows_markup_as_text():
    out = io.StringIO()
    Console(file=out, width=80).print(
        to_rich(build(results_of(episodes("[red]x[/red]", [0.5, 0.7])), TableSpec(protocol="few")))
    )
    assert "[red]x[/red]" in out.getvalue()


# -------------------------------------------------------------------------------------------- files


def test_writing_twice_gives_the_same_bytes_and_no_other_files(tmp_path):
    written = write_tables(robust(), [SPEC], tmp_path / "new")
    before = {path: path.read_bytes() for path in written}
    assert write_tables(robust(), [SPEC], tmp_path / "new") == written
    assert {path: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before
    assert sorted(p.suffix for p in written) == sorted(ending for ending, _ in FORMATS.values())


def test_csv_cells_that_begin_like_a_formula_are_harmless(tmp_path):
    """``=cmd|...`` in a spreadsheet runs a program."""
    frame = pd.DataFrame({"=name": ["=cmd|'/c calc'!A1", "@sum", "bio"], "value": [-0.5, 1.0, 2.0]})
    frames.write(frame, tmp_path / "records.csv")
    lines = (tmp_path / "records.csv").read_text().splitlines()
    assert lines == ["'=name,value", "'=cmd|'/c calc'!A1,-0.5", "'@sum,1.0", "bio,2.0"]


def on_terminal(table, width, *, whole=False):
    """What a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(to_rich(table, whole=whole))
    return captured.get()


def many_attacks():
    """A sweep of six columns, the worst case among them."""
    right, wrong = [1] * 90 + [0] * 10, [1] * 50 + [0] * 50
    sweeps = [
        sweep("a-learner-with-a-name", attack, {0.0: right, 0.1: wrong, 0.2: wrong})
        for attack in ("fgsm", "pgd", "square")
    ]
    return build(results_of(*sweeps), SPEC)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminal_never_cuts_a_number_and_names_the_columns_left_out(width):
    table = many_attacks()
    shown = on_terminal(table, width)
    assert "…" not in shown
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    columns = [heading for heading in ("fgsm", "square", "worst", "pgd") if heading in shown]
    assert columns == ["fgsm", "square", "worst", "pgd"]  # in the table or among those left out
    assert ("Not shown" in shown) == (width < 200)


def test_the_clean_and_the_worst_case_are_shown_first():
    table_part, left_out = on_terminal(many_attacks(), 60).split("Not shown")
    assert "clean" in table_part
    assert "worst" in table_part
    assert "fgsm" in left_out
    assert "worst" not in left_out.partition("(--all")[0]


def test_all_shows_every_column_in_parts():
    shown = on_terminal(many_attacks(), 60, whole=True)
    assert "Not shown" not in shown
    assert shown.count("a-learner-with-a-name") > 1
