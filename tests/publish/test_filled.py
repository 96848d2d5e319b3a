"""Texts whose numbers come from results: every call, and every name that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_kit import harness

from harness.errors import HarnessError
from harness.publish.filled import fill

CELL = {"metric": "accuracy", "value": 0.728, "low": 0.687, "high": 0.765, "seeds": [0, 1]}
TABLE = {
    "rows": [["bio"], ["k-means"]],
    "column_keys": ["attack", "eps", "whose"],
    "columns": [["clean", 0, None], ["worst", 0.1, None], ["worst", 0.1, "published"]],
    "cells": [[CELL | {"value": 0.9}, CELL, None], [None, CELL | {"value": 0.7}, None]],
}
MEASURE = {
    "measure": "accuracy (robust)",
    "bound": "≥ control",
    "metric": "accuracy",
    "learner": "bio",
    "value": 0.728,
    "low": None,
    "high": None,
    "control": "k-means",
    "control_value": 0.7,
    "difference": 0.028,
    "difference_low": -0.02,
    "difference_high": 0.07,
    "verdict": "open",
}
CLAIMS = {
    "claims": [
        {
            "claim": "robust",
            "said": "it is robust",
            "verdict": "partly confirmed",
            "measures": [MEASURE | {"verdict": "holds"}, MEASURE],
        }
    ]
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "paper" / "one"
    folder.mkdir(parents=True)
    (folder / "robust.json").write_text(json.dumps(TABLE))
    (folder / "robust.md").write_text("### Robust\n\n| a |\n| :--- |\n| 1 |\n\n- a note\n")
    (folder / "claims.json").write_text(json.dumps(CLAIMS))
    bounds = {"commit": "a1b2c3", "date": "2026-01-02T03:04:05+02:00", "measured": ""}
    late = bounds | {"measured": "2026-01-02T00:00:00+00:00"}
    both = {"robust": bounds, "late": late}
    (folder / "provenance.json").write_text(json.dumps({"bounds": both}))
    return tmp_path / "results"


def filled(results: Path, text: str) -> str:
    template = results.parent / "text.in.md"
    template.write_text(text)
    return fill(template, results)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ('number("paper/one", "robust", "bio", attack="worst")', "72.8"),
        ('number("paper/one", "robust", "bio", eps=0.1, interval=True)', "72.8 [68.7, 76.5]"),
        ('number("paper/one", "robust", "bio", eps=0, seeds=True)', "90.0 (2 seeds)"),
        ('gap("paper/one", "robust", "bio", "k-means", eps=0.1)', "2.8"),
        ('table("paper/one", "robust")', "| a |\n| :--- |\n| 1 |"),
        ('verdict("paper/one", "robust")', "partly confirmed"),
        ('said("paper/one", "robust")', "it is robust"),
        ('holding("paper/one", "robust")', "1 of 2"),
        ('measure("paper/one", "robust", 2).difference', "2.8 [-2.0, 7.0]"),
        ('measure("paper/one", "robust", 1).control_number', "70.0"),
    ],
)
def test_a_call_gives_what_the_results_say(results, call, text):
    assert filled(results, f"a {{{{ {call} }}}} b\n") == f"a {text} b\n"


def test_claims_are_shown_with_the_measure_that_decided(results):
    lines = filled(results, '{{ claims("paper/one") }}').splitlines()
    assert lines[2] == (
        "| it is robust | partly confirmed | 1 of 2 "
        "| accuracy (robust): 72.8; 2.8 [-2.0, 7.0] against k-means (open) |"
    )


def test_bounds_name_the_commit_and_the_first_number(results):
    lines = filled(results, '{{ bounds("paper/one") }}').splitlines()
    assert lines[2] == "| robust | a1b2c3, 2026-01-02 01:04 UTC | not yet |"
    assert lines[3].endswith("| 2026-01-02 00:00 UTC, before the rule |")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ('number("paper/on", "robust", "bio")', "did you mean 'paper/one'"),
        ('number("paper/one", "robus", "bio")', "did you mean 'robust'"),
        ('number("paper/one", "robust", "bi")', "did you mean 'bio'"),
        ('number("paper/one", "robust", "bio", eps=0.2)', "no column with eps=0.2"),
        ('number("paper/one", "robust", "bio")', "2 columns"),
        ('number("paper/one", "robust", "k-means", eps=0)', "no number of 'k-means'"),
        ('number("paper/one", "claims", "bio")', "is no table"),
        ('number("paper/one")', "missing 2 required positional arguments"),
        ('verdict("paper/one", "robustness")', "did you mean 'robust'"),
        ('measure("paper/one", "robust", 3)', "has 2 measures"),
        ("unknown(1)", "'unknown' is undefined"),
        ("number(", "unexpected"),
        ("number.__globals__", "unsafe"),
    ],
)
def test_a_name_that_is_not_there_is_one_clear_error(results, call, words):
    with pytest.raises(HarnessError) as error:
        filled(results, f"{{{{ {call} }}}}")
    assert words in str(error.value) and "text.in.md" in str(error.value)


def test_check_writes_nothing_and_says_what_to_run(results):
    template, out = results.parent / "text.in.md", results.parent / "text.md"
    template.write_text('{{ verdict("paper/one", "robust") }}\n')
    words = ("fill", template, "-o", out, "--results", results)
    stale = harness(*words, "--check")
    assert stale.returncode == 1 and "harness fill" in stale.stderr and not out.exists()
    assert harness(*words).returncode == 0 and out.read_text() == "partly confirmed\n"
    assert harness(*words, "--check").returncode == 0


def test_the_report_has_the_numbers_of_the_results():
    """`make report` writes it."""
    root = Path(__file__).parents[2]
    report = (root / "docs" / "report.md").read_text("utf-8")
    assert fill(root / "docs" / "report.j2", root / "results") == report
