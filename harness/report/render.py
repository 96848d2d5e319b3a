"""A table as a file: Markdown, CSV, LaTeX or JSON. Module ``terminal`` shows it on a screen."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.report.latex import latex
from harness.report.printed import PrintedCell, PrintedTable, lay_out
from harness.report.spreadsheets import harmless
from harness.report.table import Table
from harness.report.terminal import Terminal

VALUES = ("metric", "value", "low", "high", "n", "unit", "seeds", "best", "tie", "trust")
"""Columns of a table's CSV, after its labels."""


def markdown(printed: PrintedTable) -> str:
    """A GitHub table with one heading row; the levels of a heading are joined by commas."""
    headings = [", ".join(filter(None, heading)) for heading in printed.headings]
    lines = [
        _markdown_row([printed.corner, *headings]),
        _markdown_row([":---", *["---:"] * len(headings)]),
    ]
    for name, cells in zip(printed.row_names, printed.cells, strict=True):
        lines.append(_markdown_row([name, *map(_markdown_cell, cells)]))
    notes = [f"- {_one_line(note)}" for note in printed.notes]
    return "\n".join([f"### {_one_line(printed.title)}", "", *lines, "", *notes]) + "\n"


def _markdown_row(texts: list[str]) -> str:
    escaped = [_one_line(text).replace("|", "\\|") for text in texts]
    return f"| {' | '.join(escaped)} |"


def _markdown_cell(cell: PrintedCell) -> str:
    shown = f"**{cell.number}**" if cell.bold else cell.number
    return f"{shown} {cell.error}" if cell.error else shown


def _one_line(text: str) -> str:
    return " ".join(text.split())


def tidy_csv(printed: PrintedTable) -> str:
    """One line per measured cell: its labels, then the unrounded number and what belongs to it."""
    table = printed.table
    keys = (*table.row_keys, *table.column_keys)
    values = [name for name in VALUES if name not in keys]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(harmless, [*keys, *values]))
    for row, cells in zip(table.rows, table.cells, strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell is None:
                continue
            fields = asdict(cell)
            fields["seeds"] = " ".join(map(str, cell.seeds))
            fields["best"] = int(cell.best)
            fields["tie"] = int(cell.tie)
            line = [*row, *column, *(fields[name] for name in values)]
            writer.writerow(map(harmless, line))
    return out.getvalue()


def as_json(printed: PrintedTable) -> str:
    """All values of a table; numbers that are not finite are null."""
    table = printed.table
    fields = asdict(table)
    fields["distrusted"] = sorted(table.distrusted)
    return json.dumps(_finite(fields), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by None."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def tab_separated(printed: PrintedTable) -> str:
    """One line per measured cell: table, row, column, then the unrounded number."""
    lines = []
    for name, cells in zip(printed.row_names, printed.table.cells, strict=True):
        for heading, cell in zip(printed.headings, cells, strict=True):
            if cell is None:
                continue
            numbers = [repr(x) if x is not None else "" for x in (cell.value, cell.low, cell.high)]
            labels = [printed.table.name, name, " ".join(heading), cell.metric]
            fields = [*labels, *numbers, str(cell.n), cell.unit, str(len(cell.seeds)), cell.trust]
            lines.append("\t".join(map(_one_line, fields)))
    return "\n".join(lines)


LABELS = ("table", "row", "column")
"""Which number a line of ``tab_separated`` has."""

TAB_SEPARATED = (*LABELS, "metric", "value", "low", "high", "n", "unit", "seeds", "trust")
"""Headings of ``tab_separated``."""

FORMATS: dict[str, tuple[str, Callable[[PrintedTable], str]]] = {
    "markdown": (".md", markdown),
    "csv": (".csv", tidy_csv),
    "latex": (".tex", latex),
    "json": (".json", as_json),
}
"""Format -> (file ending, renderer)."""


def render(table: Table, form: str) -> str:
    """Render ``table`` as text.

    Args:
        table: The table.
        form: ``markdown``, ``csv``, ``latex`` or ``json``.

    Raises:
        HarnessError: Unknown format.
    """
    if form not in FORMATS:
        raise HarnessError(f"unknown table format {form!r}", hint=did_you_mean(form, FORMATS))
    _, renderer = FORMATS[form]
    return renderer(lay_out(table))


def to_rich(table: Table, *, whole: bool = False) -> Terminal:
    """Render ``table`` for a terminal: ``rich.print(to_rich(table))``.

    Args:
        table: The table.
        whole: All columns and conditions, however narrow the terminal.
    """
    return Terminal(lay_out(table), whole=whole)


def to_text(table: Table) -> str:
    """Render ``table`` as plain text, as wide as the terminal."""
    from rich.console import Console

    width = shutil.get_terminal_size((100, 24)).columns
    console = Console(file=io.StringIO(), width=width, force_jupyter=False)
    with console.capture() as captured:
        console.print(to_rich(table))
    return captured.get()
