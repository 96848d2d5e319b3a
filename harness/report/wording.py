"""The words of a table, the same in every format: headings, row names, numbers, the protocol block."""

from __future__ import annotations

from harness.report.formats import captions, is_percent, metric_name, number, reach
from harness.report.table import Cell, Table

MISSING = "–"
DAGGER = "†"


def heading(table: Table) -> str:
    """The title, with what is shown and in which unit where that is one thing."""
    metrics = {cell.metric for cells in table.cells for cell in cells if cell} - {
        "rank",
        "band",
    }  # they say so themselves
    if len(metrics) != 1:
        return table.title
    metric = metrics.pop()
    named = [] if "metric" in (*table.row_keys, *table.column_keys) else [metric_name(metric)]
    unit = ["%"] if is_percent(metric) and "%" not in metric_name(metric) else []
    return f"{table.title} ({', '.join([*named, *unit])})" if named or unit else table.title


def headings(table: Table) -> list[tuple[str, ...]]:
    """One tuple a column, one text a level; levels that say nothing are left out."""
    columns = [captions(table.column_keys, column) for column in table.columns]
    levels = [level for level in zip(*columns, strict=True) if any(level)]
    if not levels:
        metrics = [
            next((cells[j].metric for cells in table.cells if cells[j]), "")
            for j in range(len(table.columns))
        ]
        return [(metric_name(metric),) for metric in metrics]
    return list(zip(*levels, strict=True))


def row_name(table: Table, row: int) -> str:
    """A row's labels, with a dagger where a trust check failed."""
    name = " / ".join(filter(None, captions(table.row_keys, table.rows[row])))
    return f"{name} {DAGGER}" if row in table.distrusted else name


def cell_text(cell: Cell | None) -> tuple[str, str]:
    """The number and what follows it: ``("97.3", " ±0.9")``."""
    if cell is None:
        return MISSING, ""
    arms = reach(cell.metric, cell.value, cell.low, cell.high)
    return number(cell.metric, cell.value), f" {arms}" if arms else ""


def protocol_line(table: Table) -> str:
    """The protocol block as one sentence; empty where there is none."""
    if not table.block:
        return ""
    return (
        "Protocol: "
        + "; ".join(f"{condition}: {value}" for condition, value in table.block.items())
        + "."
    )
