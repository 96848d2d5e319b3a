"""One way from a table to text: Markdown, CSV, LaTeX, JSON. (``terminal.py`` shows the same on a screen.)"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.report.latex import latex
from harness.report.table import Table
from harness.report.terminal import Terminal
from harness.report.wording import cell_text, heading, headings, protocol_line, row_name


def markdown(table: Table) -> str:
    """GitHub's tables, one heading row (levels joined by commas)."""
    heads = [", ".join(part for part in column if part) for column in headings(table)]
    lines = [[" / ".join(table.row_keys), *heads], [":---", *["---:"] * len(heads)]]
    for i, cells in enumerate(table.cells):
        texts = [
            f"**{value}**{error}" if cell and cell.bold else value + error
            for cell in cells
            for value, error in [cell_text(cell)]
        ]
        lines.append([row_name(table, i), *texts])
    body = [
        f"| {' | '.join(_flat(text).replace('|', chr(92) + '|') for text in line)} |"
        for line in lines
    ]
    below = [f"- {_flat(note)}" for note in (*table.notes, protocol_line(table)) if note]
    return "\n".join([f"### {_flat(heading(table))}", "", *body, "", *below]) + "\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def tidy_csv(table: Table) -> str:
    """One line a measured cell: its labels, then the number and all that is known of it, unrounded."""
    keys = (*table.row_keys, *table.column_keys)
    extra = [
        name
        for name in ("metric", "value", "low", "high", "n", "unit", "seeds", "best", "tie", "trust")
        if name not in keys
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, *extra])
    for row, cells in zip(table.rows, table.cells, strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell:
                known = {
                    **asdict(cell),
                    "seeds": " ".join(map(str, cell.seeds)),
                    "best": int(cell.best),
                    "tie": int(cell.tie),
                }
                writer.writerow([*row, *column, *(known[name] for name in extra)])
    return out.getvalue()


def as_json(table: Table) -> str:
    """The whole table; numbers that are not finite are null."""
    whole = asdict(replace(table, distrusted=frozenset())) | {
        "distrusted": sorted(table.distrusted)
    }
    return json.dumps(_finite(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "markdown": (".md", markdown),
    "csv": (".csv", tidy_csv),
    "latex": (".tex", latex),
    "json": (".json", as_json),
}
"""format -> (file ending, renderer)."""


def render(table: Table, form: str) -> str:
    """``table`` as text.

    Args:
        form: ``markdown``, ``csv``, ``latex`` or ``json``.
    """
    if form not in FORMATS:
        raise HarnessError(f"no table format {form!r}", hint=did_you_mean(form, FORMATS))
    return FORMATS[form][1](table)


def to_rich(table: Table) -> Terminal:
    """``table`` for a terminal: ``rich.print(to_rich(table))``."""
    return Terminal(table)
