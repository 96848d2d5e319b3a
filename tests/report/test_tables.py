"""What each cell holds, with which interval, and what is bold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from results_kit import correct, episodes, marks, plain, record, results_of, sweep

from harness.errors import HarnessError
from harness.metrics.statistics import share_interval, t_interval, wilson
from harness.records import TrustCheck
from harness.report.printed import lay_out
from harness.report.render import FORMATS, render
from harness.report.tables import build, build_all
from harness.suite.specs.tables import TableSpec

ROBUST = TableSpec(protocol="robust", columns=["attack", "eps"])
FEW = TableSpec(protocol="few", columns=["ways", "shots"])


def test_spec_refuses_unknown_keys_and_strange_file_names():
    for more in ({"colums": []}, {"name": "../x"}):
        with pytest.raises(ValidationError):
            TableSpec(protocol="few", **more)


def test_rows_follow_the_suite_and_columns_ascend():
    cells = [
        sweep(name, attack, {0.2: [1, 0], 0.0: [1, 1], 0.1: [1, 0]})
        for name in ("z", "a")
        for attack in ("pgd", "fgsm")
    ]
    table = build(results_of(*cells), ROBUST)
    assert table.rows == (("z",), ("a",))
    assert table.columns == (
        ("clean", 0),
        ("fgsm", 0.1),
        ("fgsm", 0.2),
        ("pgd", 0.1),
        ("pgd", 0.2),
        ("worst", 0.1),
        ("worst", 0.2),
    )


def test_the_order_of_records_does_not_matter():
    cells = [
        sweep(name, attack, {0.1: [1, 0, 1]}, seed=seed)
        for name in "ab"
        for attack in ("pgd", "fgsm")
        for seed in (0, 1)
    ]
    forward, backward = results_of(*cells), results_of(*cells[::-1], learners=["a", "b"])
    assert build(forward, ROBUST) == build(backward, ROBUST)


def test_one_seed_keeps_its_own_interval():
    table = build(
        results_of(sweep("a", "pgd", {0.1: correct(50, 10)}), episodes("a", [0.2, 0.4, 0.9])),
        ROBUST,
    )
    cell = table.cells[0][0]
    assert (cell.low, cell.high) == wilson(40, 50) and (cell.n, cell.seeds) == (50, (0,))
    few = build(results_of(episodes("a", [0.2, 0.4, 0.9])), FEW).cells[0][0]
    assert (few.low, few.high) == share_interval([0.2, 0.4, 0.9])


def test_several_seeds_are_averaged_over_seeds_and_images():
    cells = [sweep("a", "pgd", {0.1: correct(200, 20 + 10 * seed)}, seed=seed) for seed in range(5)]
    cell = build(results_of(*cells), ROBUST).cells[0][0]
    assert cell.value == pytest.approx(0.8) and cell.seeds == (0, 1, 2, 3, 4) and cell.n == 200
    low, high = t_interval([0.9, 0.85, 0.8, 0.75, 0.7])
    alone = wilson(160, 200)
    assert cell.high - cell.low >= high - low, "never narrower than t over so few seeds"
    assert cell.high - cell.low >= alone[1] - alone[0], "seeds share their images"


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_have_a_wide_interval_of_possible_accuracies(seeds):
    cells = [
        sweep("a", "pgd", {0.1: correct(200, 20 + 20 * seed)}, seed=seed) for seed in range(seeds)
    ]
    cell = build(results_of(*cells), ROBUST).cells[0][0]
    assert t_interval([0.9, 0.8, 0.7][:seeds])[1] > 1
    assert 0 < cell.low < 0.5 and 0.94 < cell.high < 1


@pytest.mark.parametrize("seeds", [2, 5])
def test_equal_seeds_do_not_make_the_units_certain(seeds):
    cells = [sweep("a", "pgd", {0.1: correct(200, 200)}, seed=seed) for seed in range(seeds)]
    cell = build(results_of(*cells), ROBUST).cells[0][0]
    assert cell.value == 0 and cell.low == 0
    assert cell.high == pytest.approx(wilson(0, 200)[1], rel=0.02)  # by t instead of normal


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_learners_are_rarely_distinguished(seeds):
    """Five equal learners, seeds that differ more than episodes: how often one loses its bold."""
    draw, distinguished = np.random.default_rng(0), 0
    for _ in range(40):
        cells = [
            episodes(name, draw.normal(0.7 + draw.normal(0, 0.05), 0.1, 60), seed=s)
            for name in "abcde"
            for s in range(seeds)
        ]
        distinguished += "." in marks(build(results_of(*cells), FEW)).values()
    assert distinguished <= 4  # at most 2 are expected


def test_a_metric_without_units_has_a_t_interval_over_seeds():
    records = [
        record("a", {}, value, seed=seed, metric="sigma_log_w", protocol="audit")
        for seed, value in enumerate((1, 2, 4))
    ]
    cell = build(
        results_of(plain(*records)), TableSpec(protocol="audit", columns=["metric"])
    ).cells[0][0]
    assert (cell.low, cell.high) == t_interval([1, 2, 4])


@pytest.mark.parametrize(("families", "printed"), [((1, 1), "gamma"), ((0, 2), "differs")])
def test_names_have_no_mean(families, printed):
    """Half lognormal (0) and half exponential (2) is not gamma (1)."""
    cells = [
        record("a", {}, float(code), seed=seed, metric="best_family", protocol="audit")
        for seed, code in enumerate(families)
    ]
    table = build(results_of(plain(*cells)), TableSpec(protocol="audit", columns=["metric"]))
    assert f"| a | {printed} |" in render(table, "markdown") and printed in render(table, "latex")


# -------------------------------------------------------------------------------------------- cells


def test_missing_and_failed_cells():
    results = results_of(
        sweep("a", "pgd", {0.1: [1, 0], 0.2: [0, 0]}),
        sweep("b", "pgd", {0.1: [1, 1]}),
        learners=["a", "b", "gone"],
        failures=[("gone", "robust", 3, "ValueError: no")],
    )
    table = build(results, ROBUST)
    assert table.rows == (("a",), ("b",), ("gone",))
    assert table.cells[1][1] is None and table.cells[2] == (None, None)
    assert "Failed: gone, seed 3: ValueError: no" in table.notes


def test_a_table_without_records_is_empty():
    table = build(results_of(), ROBUST)
    assert table.rows == () and table.cells == ()


def test_different_measurements_never_share_a_cell():
    results = results_of(
        sweep("a", "pgd", {0.1: [1, 0]}, steps=10), sweep("a", "pgd", {0.1: [0, 0]}, steps=40)
    )
    table = build(results, TableSpec(protocol="robust", columns=["eps"]))
    assert table.column_keys == ("eps", "attack", "steps")
    assert table.columns == ((0.1, "pgd", 10), (0.1, "pgd", 40), (0.1, "worst", None))
    assert [c.value for c in table.cells[0]] == [0.5, 0.0, 0.0]


def test_learners_become_columns_if_they_are_not_rows():
    results = results_of(episodes("a", [0.5, 0.7]), episodes("b", [0.1, 0.3]))
    table = build(results, TableSpec(protocol="few", rows="ways", columns=["shots"]))
    assert table.columns == ((1, "a"), (1, "b")) and table.column_keys == ("shots", "learner")
    assert [c.value for c in table.cells[0]] == pytest.approx([0.6, 0.2])


def test_duplicates_are_shown_once_and_conflicts_are_errors():
    def twice(value):
        return results_of(
            plain(
                *(
                    record("a", {"ways": 5}, v, protocol="few", cell=f"cell {v}")
                    for v in (0.5, value)
                )
            )
        )

    with pytest.raises(
        HarnessError,
        match=r"accuracy of a, seed 0.*'ways': 5.*0.5 .*0.6(?s:.*)cell 0.5 and cell 0.6",
    ):
        build(twice(0.6), FEW)
    assert [c.value for row in build(twice(0.5), FEW).cells for c in row] == [0.5]


def test_only_breakdowns_of_the_same_measurement_are_dropped():
    """A setting that one has and the other lacks does not make one a part of the other."""
    rows = plain(
        *(
            record("a", setting, value, metric="gini_w", protocol="audit")
            for setting, value in (({"bundle": "x"}, 0.2), ({"layer": 1}, 0.8))
        )
    )
    assert sorted(
        c.value for c in build(results_of(rows), TableSpec(protocol="audit")).cells[0]
    ) == [0.2, 0.8]


@pytest.mark.parametrize(
    ("rows", "columns", "heads", "first"),
    [
        ("learner", ["eps"], [("clean",), ("eps 0.1",)], "a"),
        ("learner", ["attack"], [("clean", ""), ("pgd", "eps 0.1")], "a"),
        ("learner", [], [("clean",), ("eps 0.1",)], "a"),
        ("attack", ["eps"], [("clean",), ("eps 0.1",)], "pgd"),
        ("eps", ["attack"], [("pgd",)], "clean"),
    ],
)
def test_eps_zero_is_called_clean_on_every_axis(rows, columns, heads, first):
    clean, attacked = [1, 1, 0], [1, 0, 0]
    one = results_of(sweep("a", "pgd", {0.0: clean, 0.1: attacked}))
    table = build(one, TableSpec(protocol="robust", rows=rows, columns=columns))
    printed = lay_out(table)
    assert list(printed.headings) == heads and printed.row_names[0] == first
    assert table.cells[0][0].value == pytest.approx(2 / 3)


def test_clean_accuracy_is_one_column_or_one_number_per_attack():
    results = results_of(
        *(sweep("a", attack, {0.0: [1, 1, 0], 0.1: [1, 0, 0]}) for attack in ("fgsm", "pgd"))
    )
    assert build(results, TableSpec(protocol="robust", columns=["eps"])).columns[0] == (0, "clean")
    table = build(results, TableSpec(protocol="robust", rows="attack", columns=["eps"]))
    assert lay_out(table).row_names == ("fgsm", "pgd", "worst")
    assert all(cell is not None for row in table.cells for cell in row)


def test_unmeasured_metrics_are_named_with_the_measured_ones():
    results = results_of(episodes("a", [0.5, 0.7]))
    table = build(results, TableSpec(protocol="few", metric="acuracy"))
    assert table.rows == () and table.notes == (
        "Not measured: acuracy. Measured metrics: accuracy.",
    )
    both = build(
        results, TableSpec(protocol="few", columns=["metric"], metric=["accuracy", "margin"])
    )
    assert both.notes[0].startswith("Not measured: margin.") and both.cells[0][
        0
    ].value == pytest.approx(0.6)


# -------------------------------------------------------------------------------------------- seeds


def uneven(**more):
    """``b`` lacks a seed at 5 shots; both have all at 1 shot."""
    draw = np.random.default_rng(0)
    cells = [
        episodes(name, draw.normal(mean, 0.1, 30), shots=shots, seed=seed)
        for name, mean in (("a", 0.8), ("b", 0.4))
        for shots in (1, 5)
        for seed in (0, 1)
        if (name, shots, seed) != ("b", 5, 1)
    ]
    return results_of(*cells, **more)


def test_a_partial_number_is_named_and_not_compared():
    table = build(uneven(), FEW)
    assert marks(table, 0) == {"a": "B", "b": "."} and marks(table, 1) == {"a": ".", "b": "."}
    assert [note for note in table.notes if note.startswith("Partial")] == [
        "Partial: b has only seed 0 of 0, 1 in 5-way 5-shot."
    ]


@pytest.mark.parametrize("odd", ["seed", "verdicts", "length"])
def test_one_odd_row_does_not_switch_off_the_bold_of_a_column(odd):
    draw = np.random.default_rng(0)
    cells = []
    for name, mean in (("a", 0.9), ("b", 0.5), ("odd", 0.95)):
        for seed in (0, 1, 2, 3, 4):
            units = draw.normal(mean, 0.02, 29 if (odd, name) == ("length", "odd") else 30)
            made = episodes(name, units, seed=seed + 6 * (odd == "seed" and name == "odd"))
            if (odd, name) == ("verdicts", "odd"):
                made = [(replace(r, verdicts=None), v) for r, v in made]
            cells.append(made)
    reasons = {
        "seed": "seed 6, 7, 8, 9, 10, the others have seed 0, 1, 2, 3, 4",
        "verdicts": "no stored verdicts",
        "length": "29 units, the others have 30",
    }
    table = build(results_of(*cells), FEW)
    assert marks(table) == {"a": "B", "b": ".", "odd": "."}
    assert f"Not compared: odd in 5-way 1-shot: {reasons[odd]}." in table.notes


def test_fewer_seeds_than_planned_are_named_even_if_all_rows_lack_them():
    notes = build(uneven(seeds={"few": [0, 1, 2]}), FEW).notes
    assert "Partial: a has only seed 0, 1 of 0, 1, 2 in 5-way 1-shot; 5-way 5-shot." in notes
    failed = build(
        results_of(episodes("a", [0.5, 0.6]), failures=[("a", "few", 1, "OSError: full")]), FEW
    ).notes
    assert any(note.startswith("Partial: a has only seed 0 of 0, 1") for note in failed)


def test_a_table_by_seed_keeps_each_seeds_interval():
    table = build(uneven(), TableSpec(protocol="few", rows=["learner", "seed"], columns=["shots"]))
    assert table.notes == ("±: 95 % t interval over episodes; the longer side if they differ.",)


def test_the_note_names_each_cells_own_interval():
    notes = build(uneven(), FEW).notes
    assert notes[0].startswith(
        "±: 95 % t interval over episodes / 95 % t interval over seeds and episodes"
    )


def test_a_breakdown_is_dropped_for_its_summary():
    rows = plain(
        *(
            record("a", setting, value, metric="live_share", protocol="audit")
            for setting, value in (({}, 0.5), ({"bundle": "x"}, 0.2), ({"bundle": "y"}, 0.8))
        )
    )
    table = build(results_of(rows), TableSpec(protocol="audit", columns=["metric"]))
    assert table.columns == (("live_share",),) and table.cells[0][0].value == 0.5
    detail = build(results_of(rows), TableSpec(protocol="audit", columns=["metric", "bundle"]))
    assert [c.value for c in detail.cells[0]] == [0.5, 0.2, 0.8]


def test_build_all_defaults_to_a_table_per_protocol_and_numbers_equal_names():
    results = results_of(episodes("a", [0.5, 0.7]))
    assert [t.name for t in build_all(results, [])] == ["robust", "few", "audit"]
    assert [t.name for t in build_all(results, [FEW, FEW])] == ["few", "few-2"]


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_note_says_what_bold_guarantees(seeds):
    cells = [
        episodes(name, [0.5, 0.6, 0.7 + place], seed=s)
        for place, name in enumerate("ab")
        for s in range(seeds)
    ]
    notes = build(results_of(*cells), FEW).notes
    paired = "episode" if seeds == 1 else "seed and episode"
    assert (
        "Bold: the best of each column and all that are not shown to be worse. With a probability "
        "of 95 % a column's bold numbers include every row that is truly the best "
        f"(differences paired by {paired}, corrected for all pairs)."
    ) in notes


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_table_of_one_seed_says_that_it_compares_networks(seeds):
    cells = [episodes(name, [0.5, 0.6, 0.8], seed=s) for name in "ab" for s in range(seeds)]
    table = build(results_of(*cells), FEW)
    for form in FORMATS:
        if form != "csv":
            assert ("compare trained networks" in " ".join(render(table, form).split())) == (
                seeds == 1
            )


def test_notes_name_the_interval_that_was_used():
    audit = [
        record("a", {}, 0.5, seed=s, metric="gini_w", protocol="audit", unit="synapse")
        for s in range(2)
    ]
    responses = record(
        "a", {}, 0.5, low=0.4, high=0.6, metric="treves_rolls_stimulus", protocol="audit"
    )
    spec = TableSpec(protocol="audit", columns=["metric"])
    assert "t interval over seeds" in build(results_of(plain(*audit)), spec).notes[0]
    assert "t interval over images" in build(results_of(plain(responses)), spec).notes[0]
    assert build(results_of(plain(audit[0])), spec).notes == ()


def test_one_note_for_the_same_failure_in_several_cells():
    failures = [("a", "robust", seed, "OSError: full") for seed in (1, 0, 1)]
    notes = build(results_of(learners=["a"], failures=failures), ROBUST).notes
    assert notes == ("Failed: a, seed 0, 1: OSError: full",)


def test_failed_checks_are_footnotes():
    check = TrustCheck("gradients exist", "FAIL", "97 % are zero")
    results = results_of(
        sweep("a", "pgd", {0.1: [1, 0]}, trust="FAIL"), trust={"a/pgd/linf/0": [check]}
    )
    assert (
        "† a, seed 0: trust check failed: gradients exist: 97 % are zero"
        in build(results, ROBUST).notes
    )


def test_a_warning_is_one_note_for_all_learners():
    results = results_of(
        *(sweep(name, "pgd", {0.1: correct(100, 5), 0.2: correct(100, 50)}) for name in "ab")
    )
    cells = {record.cell for record in results.records}
    results = replace(
        results, trust={cell: [TrustCheck("converged", "WARN", "2 points")] for cell in cells}
    )
    notes = build(results, ROBUST).notes
    assert "Warning, converged: a (pgd), b (pgd)." in notes


def test_only_keeps_the_numbers_with_these_values():
    results = results_of(
        sweep("a", "fgsm", {0.0: [1, 1], 0.1: [1, 0], 0.2: [0, 0]}),
        sweep("a", "pgd", {0.0: [1, 1], 0.1: [0, 0], 0.2: [0, 0]}),
    )
    spec = {"protocol": "robust", "columns": ["attack", "eps"]}
    table = build(results, TableSpec(**spec, only={"attack": ["clean", "worst"], "eps": [0, 0.1]}))
    assert table.columns == (("clean", 0), ("worst", 0.1))
    assert build(results, TableSpec(**spec, only={"attack": "fgsm"})).columns == (
        ("fgsm", 0.1),
        ("fgsm", 0.2),
    )
