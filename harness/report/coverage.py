"""Which numbers of a table are over other seeds than planned, and which are not compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness.cells.results import Results
from harness.report.formats import captions
from harness.report.grid import Labels, Place
from harness.report.pairs import Comparable
from harness.report.pivot import Pivot

Remark = TypeVar("Remark")


@dataclass(frozen=True)
class Coverage:
    """The seeds behind the numbers of a table.

    Attributes:
        planned: Seeds that every number should be over.
        partial: Place -> the seeds of a number that is not over the planned ones.
    """

    planned: list[int]
    partial: dict[Place, tuple[int, ...]]


def coverage(results: Results, protocol: str, pivot: Pivot) -> Coverage:
    """Find the partial numbers of a table; none in a table by seed."""
    planned = planned_seeds(results, protocol)
    if "seed" in (*pivot.row_keys, *pivot.column_keys):
        return Coverage(planned, {})
    partial = {}
    for place, records in pivot.grid.items():
        seeds = tuple(record.seed for record in records)
        if seeds != tuple(planned):
            partial[place] = seeds
    return Coverage(planned, partial)


def planned_seeds(results: Results, protocol: str) -> list[int]:
    """The seeds that a protocol was planned for, or else all that it was tried with."""
    measured = {record.seed for record in results.records if record.protocol == protocol}
    failed = {seed for _, where, seed, _ in results.failures if where == protocol}
    return sorted(results.seeds.get(protocol, measured | failed))


def partial_columns(
    pivot: Pivot, covered: Coverage
) -> dict[tuple[str, tuple[int, ...]], list[str]]:
    """Group partial numbers by row and seeds.

    Returns:
        Printed row and seeds -> the printed columns of these numbers, in the table's order.
    """
    return _by_row(pivot, covered.partial)


def left_out_columns(
    pivot: Pivot, comparisons: Mapping[Labels, Comparable[Labels]]
) -> dict[tuple[str, str], list[str]]:
    """Group the numbers that are not compared with the others of their column.

    Returns:
        Printed row and reason -> the printed columns, in the table's order.
    """
    reasons = {
        (row, column): reason
        for column, shown in comparisons.items()
        for row, reason in shown.left_out.items()
        if shown.keys
    }
    return _by_row(pivot, reasons)


def _by_row(pivot: Pivot, remarks: Mapping[Place, Remark]) -> dict[tuple[str, Remark], list[str]]:
    """Printed row and remark -> the printed columns that it is about."""
    grouped: dict[tuple[str, Remark], list[str]] = {}
    for row in pivot.rows:
        for column in pivot.columns:
            if (row, column) not in remarks:
                continue
            row_name = " / ".join(filter(None, captions(pivot.row_keys, row)))
            column_name = " ".join(filter(None, captions(pivot.column_keys, column)))
            grouped.setdefault((row_name, remarks[row, column]), []).append(column_name)
    return grouped
