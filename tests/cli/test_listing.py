"""Listings show the columns that fit a terminal, and lines of fields to other programs."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.cli import listing, trust_page
from harness.records import TrustCheck
from harness.report.trusted import Row

WORDS = st.text("abcdefg 0123456789.", min_size=1, max_size=40).map(str.strip).filter(bool)


@st.composite
def tables(draw):
    names = draw(st.lists(st.text("abcxyz", min_size=1, max_size=8), unique=True, min_size=1))
    row = st.fixed_dictionaries({name: WORDS for name in names})
    return draw(st.lists(row, min_size=1, max_size=5))


@given(tables(), st.integers(60, 200), st.booleans())
def test_lines_fit_and_single_words_are_never_cut(rows, width, wraps):
    lines, left_out = listing.lay_out(rows, width, wraps=wraps)
    assert all(len(line) <= width for line in lines)
    shown = "\n".join(lines)
    for name in rows[0]:
        if name in left_out:
            continue
        for row in rows:
            assert " " in row[name] or row[name] in shown


@given(tables())
def test_a_wide_terminal_shows_everything(rows):
    lines, left_out = listing.lay_out(rows, 10_000)
    assert not left_out
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        assert all(value in line for value in row.values())


def test_a_long_text_is_cut_or_wrapped_but_its_column_stays():
    rows = [{"name": "pgd", "about": "many words " * 20}]
    cut, _ = listing.lay_out(rows, 60)
    assert len(cut) == 2
    assert cut[1].endswith("…")
    wrapped, _ = listing.lay_out(rows, 60, wraps=True)
    assert " ".join(" ".join(wrapped).split()).count("many words") == 20


def on_terminal(monkeypatch, width=80):
    """A console of this width in place of stdout; returns what is written to it."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, color_system=None)
    console.soft_wrap = True
    monkeypatch.setattr(listing, "out", console)
    monkeypatch.setattr(trust_page, "out", console)
    return written


def test_an_empty_column_takes_no_room_on_a_terminal_and_stays_in_a_pipe(monkeypatch, capsys):
    rows = [{"name": "a", "interval": "", "seeds": 1}, {"name": "b", "interval": "", "seeds": 1}]
    listing.show(rows, "things")
    assert capsys.readouterr().out.startswith("name\tinterval\tseeds\n")
    written = on_terminal(monkeypatch)
    listing.show(rows, "things")
    assert written.getvalue().splitlines()[1:] == ["name  seeds", "a     1", "b     1"]


def test_an_essential_column_gets_room_before_those_on_its_left(monkeypatch):
    written = on_terminal(monkeypatch)
    rows = [{"name": "a" * 60, "A": "1" * 12, "B": "2" * 12, "B - A": "3" * 12}]
    listing.show(rows, "things", essential="B - A")
    assert "3" * 12 in written.getvalue()
    assert "not shown: A, B" in written.getvalue()


def test_columns_that_do_not_fit_are_named(monkeypatch):
    written = on_terminal(monkeypatch)
    listing.show([{"name": "a" * 50, "first": 1.5, "long": "b" * 40}], "things")
    assert "not shown: long (--json)" in written.getvalue()
    assert "bbb" not in written.getvalue()


def test_a_pipe_gets_one_line_a_row(capsys):
    listing.show([{"name": "a", "about": "two\nlines"}, {"name": "b", "about": "x" * 300}], "t")
    assert capsys.readouterr().out.splitlines() == [
        "name\tabout",
        "a\ttwo lines",
        "b\t" + "x" * 300,
    ]


CHECKS = (
    TrustCheck("not constant", "PASS", "logits differ by 3.1"),
    TrustCheck("scale", "WARN", "PGD on rescaled logits breaks 12 % of 25"),
)


def swept(level="WARN", checks=CHECKS):
    return Row("bio", "robust", "fgsm", 0, "0" * 64, level, checks)


def test_the_trust_page_says_what_was_found_expected_and_to_do(monkeypatch):
    written = on_terminal(monkeypatch)
    trust_page.show([swept()], whole=False)
    text = " ".join(written.getvalue().split())
    assert "WARN: usable, with the remarks below" in text
    assert "breaks 12 % of 25" in text
    assert "expected: PGD on rescaled logits breaks nothing" in text
    assert "to do: Use a loss that does not saturate" in text
    assert "3.1" not in text


def test_all_shows_the_checks_that_passed(monkeypatch):
    written = on_terminal(monkeypatch)
    trust_page.show([swept()], whole=True)
    assert "logits differ by 3.1" in written.getvalue()


def test_trust_into_a_pipe_is_one_line_a_check(capsys):
    passed = swept("PASS", CHECKS[:1])
    trust_page.show([swept(), passed], whole=False)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:]] == ["WARN", "PASS"]


def test_columns_of_trust_have_the_same_names_in_a_pipe_and_on_a_terminal(monkeypatch, capsys):
    trust_page.show([swept()], whole=False)
    piped = capsys.readouterr().out.splitlines()[0].split("\t")
    written = on_terminal(monkeypatch)
    trust_page.show([swept()], whole=False)
    shown = written.getvalue().splitlines()[1].split()
    assert piped == [*shown, "found"]


def test_every_trust_check_says_what_it_expects_and_what_to_do():
    from harness import registry
    from harness.report.trust_words import ELSEWHERE, REMEDIES, asks

    names = {*registry.checks, *ELSEWHERE}
    assert REMEDIES.keys() == names
    for name in names:
        assert asks(name).endswith("."), name


@pytest.mark.parametrize(("number", "difference"), [(0.1234567, "37.7 *"), (1e-9, "50.0 *")])
def test_numbers_of_a_comparison_are_whole_at_80_columns(monkeypatch, number, difference):
    from harness.cli import comparing
    from harness.report.compare import Line

    written = on_terminal(monkeypatch)
    line = Line("", "robust, eps 0.1", "accuracy", number, 0.5, 0.4, 0.3, 0.5, 1e-9, True, 100)
    comparing._print([line], "A: a", "B: b")
    shown = written.getvalue()
    assert "< 0.001" in shown
    assert difference in shown
    assert "…" not in shown
    assert all(len(text) <= 80 for text in shown.splitlines())


def test_rows_of_a_group_are_under_its_name(monkeypatch):
    written = on_terminal(monkeypatch)
    rows = [{"name": name, "family": family} for name, family in zip("abc", "xxy", strict=True)]
    listing.show(rows, "things", group="family")
    lines = [line.strip() for line in written.getvalue().splitlines() if line.strip()]
    assert lines == ["things", "name", "x", "a", "b", "y", "c"]
