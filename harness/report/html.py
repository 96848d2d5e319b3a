"""A table as HTML for a notebook."""

from __future__ import annotations

from html import escape

from harness.markup import cells
from harness.report.printed import PrintedCell, PrintedTable


def html(printed: PrintedTable) -> str:
    """A caption, a heading row for each level, the numbers, and the notes."""
    levels = list(zip(*printed.headings, strict=True))
    headings = [[printed.corner if i == 0 else "", *level] for i, level in enumerate(levels)]
    rows = [
        f"<tr>{cells('th', [name])}{''.join(map(_cell, numbers))}</tr>"
        for name, numbers in zip(printed.row_names, printed.cells, strict=True)
    ]
    head = "".join(f"<tr>{cells('th', heading)}</tr>" for heading in headings)
    notes = "<br>".join(map(escape, printed.notes))
    return (
        f"<p><b>{escape(printed.title)}</b></p><table><thead>{head}</thead>"
        f"<tbody>{''.join(rows)}</tbody></table><p><small>{notes}</small></p>"
    )


def _cell(cell: PrintedCell) -> str:
    number = escape(cell.number)
    shown = f"<b>{number}</b>" if cell.bold else number
    error = f" <small>{escape(cell.error)}</small>" if cell.error else ""
    return f"<td>{shown}{error}</td>"
