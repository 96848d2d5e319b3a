"""Which numbers of a table are bold, and the mean rank of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.records import Record
from harness.report.aggregate import Verdicts
from harness.report.formats import BETTER
from harness.report.grid import Grid, Labels, Place
from harness.report.published import SUMMARY
from harness.report.table import Cell, Table
from harness.report.ties import ranks, same_as_best

MEAN_RANK = "mean rank"

RANKING = (
    "Mean rank over columns, 1 is best. In each column the best and everything not significantly "
    "worse share their mean rank, then the best of the rest, and so on (the tests behind bold)."
)


def mark_best(
    cells: dict[Place, Cell], grid: Grid, column: Sequence[Place], verdicts: Verdicts
) -> None:
    """Mark the best number of one column, and its ties, in ``cells``.

    Nothing is marked if fewer than two numbers can be compared.
    """
    rivals = [place for place in column if place in grid and is_comparable(grid[place])]
    if len(rivals) < 2:
        return
    sign = BETTER[grid[rivals[0]][0].metric]
    best, ties = same_as_best([grid[place] for place in rivals], verdicts, sign=sign)
    for position in best:
        place = rivals[position]
        cells[place] = replace(cells[place], best=True)
    for position in ties:
        place = rivals[position]
        cells[place] = replace(cells[place], tie=True)


def is_comparable(records: Sequence[Record]) -> bool:
    """Whether a number has a better direction, and stored units to test it on."""
    return all(record.metric in BETTER and record.verdicts is not None for record in records)


def mean_ranks(
    grid: Grid, rows: Sequence[Labels], columns: Sequence[Labels], verdicts: Verdicts
) -> dict[Labels, float]:
    """The mean rank over ``columns`` of every row that has a number in all of them.

    Returns:
        Row -> mean rank; empty if fewer than two rows can be ranked.
    """
    ranked = []
    for row in rows:
        places = [(row, column) for column in columns]
        if all(place in grid and is_comparable(grid[place]) for place in places):
            ranked.append(row)
    if len(ranked) < 2 or not columns:
        return {}
    by_column = []
    for column in columns:
        sign = BETTER[grid[ranked[0], column][0].metric]
        candidates = [grid[row, column] for row in ranked]
        by_column.append(ranks(candidates, verdicts, sign=sign))
    means = np.mean(by_column, axis=0).tolist()
    return dict(zip(ranked, means, strict=True))


def with_mean_ranks(table: Table, means: dict[Labels, float]) -> Table:
    """Add a last column with mean ranks, and the note that explains it."""
    if not means:
        return table
    empty = (None,) * len(table.column_keys)
    columns = [(*column, None) for column in table.columns]
    columns.append((*empty, MEAN_RANK))
    cells: list[tuple[Cell | None, ...]] = []
    for row, line in zip(table.rows, table.cells, strict=True):
        rank = None
        if row in means:
            rank = Cell("rank", means[row], None, None, len(table.columns), "column", ())
        cells.append((*line, rank))
    return replace(
        table,
        column_keys=(*table.column_keys, SUMMARY),
        columns=tuple(columns),
        cells=tuple(cells),
        notes=(*table.notes, RANKING),
    )
