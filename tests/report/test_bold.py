"""Which numbers are bold, and mean ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_kit import correct, episodes, marks, plain, record, results_of, sweep
from scipy import stats

from harness.records import worst_level
from harness.report.pairs import Rivals
from harness.report.render import render
from harness.report.tables import build, build_all
from harness.suite.specs.tables import TableSpec

ROBUST = TableSpec(protocol="robust", columns=["attack", "eps"])
FEW = TableSpec(protocol="few", columns=["ways", "shots"])


def test_second_best_is_a_tie_and_the_third_is_not():
    results = results_of(
        sweep("best", "pgd", {0.1: correct(200, 10)}),
        sweep("second", "pgd", {0.1: correct(200, 14)}),
        sweep("third", "pgd", {0.1: correct(200, 30)}),
    )
    # Against the best, 4 discordant images give p = 0.10, and 20 give p = 2e-5.
    assert marks(build(results, ROBUST)) == {"best": "B", "second": "t", "third": "."}


def test_pairing_finds_differences_that_unpaired_intervals_hide():
    hard = np.random.default_rng(0).normal(0.6, 0.15, 100)
    results = results_of(
        episodes("a", hard + 0.02),
        episodes("b", hard + np.random.default_rng(1).normal(0, 0.01, 100)),
    )
    table = build(results, FEW)
    assert table.cells[0][0].low < table.cells[1][0].value
    assert marks(table) == {"a": "B", "b": "."}


def test_many_rows_tie_what_a_single_test_would_reject():
    best = np.full(40, 0.6)
    rivals = [best - 0.0113 + np.linspace(-0.05, 0.05, 40)] * 6
    single = stats.ttest_rel(best, rivals[0]).pvalue
    assert 0.05 / 21 < single < 0.05  # seven rows make 21 pairs
    table = build(
        results_of(episodes("best", best), *(episodes(f"r{i}", r) for i, r in enumerate(rivals))),
        FEW,
    )
    assert set(marks(table).values()) == {"B", "t"}
    pair = build(results_of(episodes("best", best), episodes("r", rivals[0])), FEW)
    assert marks(pair) == {"best": "B", "r": "."}


def test_equal_bests_are_both_best():
    assert marks(build(results_of(episodes("a", [0.5, 0.7]), episodes("b", [0.7, 0.5])), FEW)) == {
        "a": "B",
        "b": "B",
    }


def test_several_seeds_are_compared_by_seed_and_episode():
    draw = np.random.default_rng(3)
    hard = draw.normal(0.6, 0.15, (5, 100))
    cells = [
        episodes(name, hard[s] + shift + draw.normal(0, 0.02, 100), seed=s)
        for name, shift in (("a", 0.02), ("b", 0.0199), ("c", 0.0))
        for s in range(5)
    ]
    shown = marks(build(results_of(*cells), FEW))
    assert sorted((shown["a"], shown["b"])) == ["B", "t"] and shown["c"] == "."


@pytest.mark.parametrize("seeds", [4, 5])
def test_more_than_a_hundred_rivals_still_differ_from_the_best(seeds):
    draw = np.random.default_rng(3)
    hard = draw.normal(0.6, 0.1, (seeds, 30))
    shifts = {"best": 0.1, "alike": 0.0999, **{f"worse-{i}": 0.0 for i in range(110)}}
    cells = [
        episodes(name, hard[s] + shift + draw.normal(0, 0.001, 30), seed=s)
        for name, shift in shifts.items()
        for s in range(seeds)
    ]
    shown = marks(build(results_of(*cells), FEW))
    assert {name for name, mark in shown.items() if mark != "."} == {"best", "alike"}


def test_intervals_of_pairs_and_bold_agree_for_two_learners():
    """Bold is decided by the same p as the interval of the difference, at every seed count."""
    draw = np.random.default_rng(5)
    for seeds in (1, 2, 3):
        for gap in (0.0, 0.05, 0.2, 0.4):
            cells = [
                sweep(name, "pgd", {0.1: [int(x) for x in draw.random(80) < share]}, seed=s)
                for name, share in (("a", 0.9), ("b", 0.9 - gap))
                for s in range(seeds)
            ]
            results = results_of(*cells)
            both = [[r for r in results.records if r.learner == name] for name in "ab"]
            pair = Rivals(both, results.verdicts).pair(0, 1)
            is_bold = [mark != "." for mark in marks(build(results, ROBUST)).values()]
            assert all(is_bold) == (pair.low <= 0 <= pair.high)


def test_a_distrusted_row_is_marked_and_never_bold():
    results = results_of(
        sweep("a", "pgd", {0.1: correct(100, 1)}, trust="FAIL"),
        sweep("b", "pgd", {0.1: correct(100, 30)}),
        sweep("c", "pgd", {0.1: correct(100, 60)}),
    )
    table = build(results, ROBUST)
    assert table.distrusted == {0} and marks(table) == {"a": ".", "b": "B", "c": "."}


def test_nothing_is_bold_without_a_rival_or_without_verdicts():
    assert marks(build(results_of(sweep("a", "pgd", {0.1: [1, 1]})), ROBUST)) == {"a": "."}
    bare = plain(
        *(
            record(name, {"attack": "pgd", "eps": 0.1}, value)
            for name, value in (("a", 0.1), ("b", 0.9))
        )
    )
    assert marks(build(results_of(bare), ROBUST)) == {"a": ".", "b": "."}


def test_other_tasks_are_not_rivals():
    results = results_of(episodes("a", [0.8, 0.9], ways=2), episodes("a", [0.5, 0.6], ways=5))
    assert set(
        marks(build(results, TableSpec(protocol="few", rows="ways", columns=["shots"]))).values()
    ) == {"."}


def test_the_worst_level_of_some_and_of_none():
    assert worst_level(["PASS", "FAIL", "-", "WARN"]) == "FAIL" and worst_level(iter(())) == "-"


def test_rows_measured_on_other_images_are_not_compared():
    results = results_of(
        sweep("a", "pgd", {0.1: correct(100, 1)}), sweep("b", "pgd", {0.1: correct(50, 1)})
    )
    assert marks(build(results, ROBUST))["b"] == "."


def test_mean_ranks_share_ties_and_need_every_column():
    """a and b do not differ, c is worse; d has no number in the second column."""
    rng = np.random.default_rng(0)
    easy = (rng.random(400) < 0.9).astype(int).tolist()
    near = [1 - v if i == 7 else v for i, v in enumerate(easy)]
    poor = [v if i % 3 else 0 for i, v in enumerate(easy)]
    cells = [
        made
        for shots in (1, 5)
        for name, verdicts in (("a", easy), ("b", near), ("c", poor), ("d", easy))
        if (name, shots) != ("d", 5)
        for made in episodes(name, verdicts, shots=shots)
    ]
    (table,) = build_all(
        results_of(cells), [TableSpec(protocol="few", columns=["shots"], ranks=True)]
    )
    assert table.columns == ((1, None), (5, None), (None, "mean rank")) and table.column_keys == (
        "shots",
        "summary",
    )
    shown = {
        row[0]: line[-1] and line[-1].value
        for row, line in zip(table.rows, table.cells, strict=True)
    }
    assert shown == {"a": 1.5, "b": 1.5, "c": 3.0, "d": None}
    assert any("Mean rank" in note for note in table.notes)
    for form in ("markdown", "csv", "latex", "json"):
        assert "mean rank" in render(table, form)


def test_the_lowest_error_is_the_best():
    rng = np.random.default_rng(1)
    wrong = {"good": rng.random(300) < 0.1, "bad": rng.random(300) < 0.5}
    cells = [
        made for name, verdicts in wrong.items() for made in episodes(name, verdicts.astype(float))
    ]
    cells = [(replace(made, metric="error"), verdicts) for made, verdicts in cells]
    (table,) = build_all(results_of(cells), [TableSpec(protocol="few", columns=["shots"])])
    assert [line[0].bold for line in table.cells] == [True, False]


def test_mean_ranks_are_means_over_columns():
    """a is first twice and last once, b always second, c last twice and first once."""
    draw = np.random.default_rng(0)
    means = {"a": (0.9, 0.9, 0.5), "b": (0.7, 0.7, 0.7), "c": (0.5, 0.5, 0.9)}
    cells = [
        made
        for name, by_shots in means.items()
        for shots, mean in zip((1, 5, 20), by_shots, strict=True)
        for made in episodes(name, draw.normal(mean, 0.02, 60), shots=shots)
    ]
    spec = TableSpec(protocol="few", columns=["shots"], ranks=True)
    (table,) = build_all(results_of(cells), [spec])
    assert [line[-1].value for line in table.cells] == pytest.approx([5 / 3, 2, 7 / 3])
