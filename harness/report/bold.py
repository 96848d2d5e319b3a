"""Which numbers of a table are bold, and the mean rank of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.report.aggregate import Verdicts
from harness.report.formats import BETTER
from harness.report.grid import Grid, Labels, Place
from harness.report.pairs import Comparable, Rivals, comparable
from harness.report.published import SUMMARY
from harness.report.table import Cell, Table

MEAN_RANK = "mean rank"

RANKING = (
    "Mean rank over columns, 1 is best. In each column the best and everything not shown to be "
    "worse share their mean rank, then the best of the rest, and so on (the tests behind bold)."
)


def compared(
    grid: Grid, rows: Sequence[Labels], columns: Sequence[Labels], planned: Sequence[int]
) -> dict[Labels, Comparable[Labels]]:
    """Column -> the rows that are compared in it, and why others are not.

    Args:
        grid: Records by place.
        rows: The rows that may be compared.
        columns: The columns.
        planned: The seeds that every number should be over.
    """
    found = {}
    for column in columns:
        numbers = {row: grid[row, column] for row in rows if (row, column) in grid}
        found[column] = comparable(numbers, planned)
    return found


def mark_best(
    cells: dict[Place, Cell],
    grid: Grid,
    comparisons: Mapping[Labels, Comparable[Labels]],
    verdicts: Verdicts,
) -> None:
    """Mark the best number of each column, and its ties, in ``cells``."""
    for column, shown in comparisons.items():
        if not shown.keys:
            continue
        best, ties = _rivals(grid, column, shown.keys, verdicts).best()
        for position in best:
            place = (shown.keys[position], column)
            cells[place] = replace(cells[place], best=True)
        for position in ties:
            place = (shown.keys[position], column)
            cells[place] = replace(cells[place], tie=True)


def _rivals(grid: Grid, column: Labels, rows: Sequence[Labels], verdicts: Verdicts) -> Rivals:
    candidates = [grid[row, column] for row in rows]
    return Rivals(candidates, verdicts, sign=BETTER[candidates[0][0].metric])


def mean_ranks(
    grid: Grid, comparisons: Mapping[Labels, Comparable[Labels]], verdicts: Verdicts
) -> dict[Labels, float]:
    """The mean rank of every row that is compared in all columns with a comparison.

    Returns:
        Row -> mean rank; empty if fewer than two rows can be ranked.
    """
    columns = {column: shown.keys for column, shown in comparisons.items() if shown.keys}
    if not columns:
        return {}
    first, *others = columns.values()
    ranked = [row for row in first if all(row in rows for rows in others)]
    if len(ranked) < 2:
        return {}
    by_column = [_rivals(grid, column, ranked, verdicts).ranks() for column in columns]
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
