"""Tables, frames and figures of results in a notebook: short, typed, and safe HTML."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import harness
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Record, TrustCheck
from harness.report.table import Cell, Table, Tables

EVIL = "<script>alert('&')</script>"


def record(**more) -> Record:
    base = dict(
        suite="s",
        cell="cell",
        learner="mine",
        dataset="digits",
        protocol="robust",
        setting={"attack": "fgsm", "norm": "linf", "eps": 0.1},
        seed=0,
        metric="accuracy",
        value=0.5,
        low=0.4,
        high=None,
        n=4,
        unit="sample",
        verdicts="v",
        trust="WARN",
        wall_s=1.0,
        device="cpu",
        versions={"torch": "2"},
        dataset_hash="",
        git_commit="",
        created="2026-01-01T00:00:00+00:00",
    )
    return Record(**(base | more))


@pytest.fixture
def results() -> Results:
    return Results(
        suite="s",
        learners=["mine"],
        protocols={"robust": "attack_sweep"},
        blocks={"robust": {"images": "4"}},
        records=[
            record(),
            record(setting={"attack": "fgsm", "norm": "linf", "eps": 0, "images": 4}),
        ],
        verdicts=lambda cell, name: np.array([1, 1, 0, 0]),
        trust={"cell": [TrustCheck("converged", "WARN", "by 3 %")]},
        failures=[],
    )


def test_results_print_in_a_line_and_show_their_protocols(results):
    assert repr(results) == "<Results of 's': 1 learners, 1 protocols, 2 records>"
    assert "<td>robust</td><td>attack_sweep</td><td>1</td><td>2</td><td>WARN</td>" in (
        results._repr_html_()
    )


def test_nothing_in_html_is_taken_for_markup(results):
    evil = replace(results, suite=EVIL, protocols={EVIL: "attack_sweep"})
    cell = Cell("accuracy", 0.5, 0.4, 0.6, 4, "sample", (0,), best=True)
    table = Table(
        EVIL,
        EVIL,
        EVIL,
        (EVIL,),
        ("a",),
        ((EVIL,),),
        ((EVIL,),),
        ((cell,),),
        frozenset(),
        (EVIL,),
        {},
    )
    for shown in (evil, table, Tables([table, table])):
        text = shown._repr_html_()
        assert "&lt;script&gt;" in text
        assert "<script" not in text


def test_a_table_is_short_in_lists_and_whole_in_print(results):
    tables = harness.table(results)
    assert repr(tables) == "[<Table 'robust': 1 rows, 3 columns>]"
    assert "50.0" in str(tables) and "mine" in str(tables)
    assert "<td>50.0" in tables._repr_html_()


def test_frames_have_flat_typed_columns(results):
    kinds = {name: str(kind) for name, kind in harness.load(results).dtypes.items()}
    assert kinds["learner"] == kinds["trust"] == kinds["setting_attack"] == "category"
    assert kinds["value"] == kinds["low"] == kinds["high"] == kinds["setting_eps"] == "float64"
    assert kinds["seed"] == kinds["n"] == "int64"
    assert kinds["setting_images"] == "Int64"
    assert kinds["created"].startswith("datetime64") and kinds["created"].endswith("UTC]")
    of_table = harness.table(results)[0].frame()
    assert {str(kind) for kind in of_table.dtypes} == {"category", "float64", "int64", "bool"}
    for frame in (harness.load(results), of_table, harness.trust(results)):
        assert (
            not frame.astype(object)
            .map(lambda value: isinstance(value, dict | list | tuple))
            .any(axis=None)
        )


def test_the_trust_report_has_a_row_for_each_check(results):
    (row,) = harness.trust(results).to_dict("records")
    assert (row["check"], row["level"], row["detail"]) == ("converged", "WARN", "by 3 %")


def test_plot_gives_a_figure_by_the_name_of_its_file(results):
    from matplotlib.figure import Figure

    assert isinstance(harness.plot(results), Figure)
    assert isinstance(harness.plot(results, "robust"), Figure)
    with pytest.raises(HarnessError, match="no figure 'robst'") as caught:
        harness.plot(results, "robst")
    assert "did you mean 'robust'" in caught.value.hint


def test_two_sources_are_compared_in_a_frame(results):
    results.configs["mine"] = {}
    results.kinds["mine"] = "mlp"
    frame = harness.compare(results, results)
    assert len(frame) == 2
    assert (frame["difference"] == 0).all()
