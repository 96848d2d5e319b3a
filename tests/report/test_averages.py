"""Every number over its seeds is the one that tables show."""

from __future__ import annotations

from pathlib import Path

from results_kit import correct, record, results_of, sweep

from harness.execute.session import RunOptions
from harness.publish import reading
from harness.report.averages import averages, frame
from harness.report.tables import build_all

ROOT = Path(__file__).resolve().parents[2]


def test_every_number_of_a_table_is_among_them_with_its_interval():
    read = reading.read(ROOT / "results" / "corruption", RunOptions())
    found = averages(read.results)
    known = {(each.first.learner, each.first.metric, each.value, each.low) for each in found}
    shown = [
        (row[0], cell.metric, cell.value, cell.low)
        for table in build_all(read.results, read.tables, read.published)
        if table.row_keys == ("learner",)
        for row, cells in zip(table.rows, table.cells, strict=True)
        for cell in cells
        if cell is not None
    ]
    assert len(shown) > 100
    assert set(shown) <= known


def test_seeds_of_one_number_are_one_row_and_other_settings_are_others():
    found = averages(
        results_of(
            sweep("bio", "pgd", {0.1: correct(10, 2)}, seed=1),
            sweep("bio", "pgd", {0.1: correct(10, 4)}, seed=0),
            sweep("bio", "fgsm", {0.1: correct(10, 0)}),
        )
    )
    pgd, fgsm, *_ = found
    assert (pgd.seeds, pgd.value, pgd.where) == ([0, 1], 0.7, "robust, pgd, eps 0.1")
    assert (fgsm.seeds, fgsm.value) == ([0], 1.0)
    assert pgd.low < 0.7 < pgd.high


def test_a_number_without_an_interval_gets_none():
    audited = record("bio", {}, 0.3, metric="live_share", protocol="audit", n=7)
    table = frame(averages(results_of([(audited, None)])))
    assert table.low.isna().all() and list(table.n) == [7]
