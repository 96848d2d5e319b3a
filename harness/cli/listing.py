"""Rows of a report: the columns that fit a terminal, or tab-separated lines for other programs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cli.output import out

GAP = 2
"""Characters between columns."""

LEAST_PROSE = 24
"""Characters that are left of a text at least, where it is cut or wrapped to fit."""


def show(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    *,
    wraps: bool = False,
    all_of_it: str = "--json",
    group: str = "",
    essential: str = "",
) -> None:
    """Print rows; the keys of the first row are the columns, the most important ones first.

    On a terminal, columns that do not fit are named below, and empty ones are left out. A number or
    a name is never cut. A text of several words is cut to fit, or wrapped. Into a pipe every row is
    one tab-separated line.

    Args:
        rows: What to print.
        title: Heading on a terminal.
        wraps: Wrap the text that does not fit rather than cut it.
        all_of_it: Option that prints every column.
        group: Key whose value is a heading over the rows that share it; they are neighbours, and
            each of them is one line.
        essential: Key whose column gets room before those on its left.
    """
    if not out.is_terminal:
        print("\n".join(tab_separated(rows)))
        return
    shown = [{key: value for key, value in row.items() if key != group} for row in rows]
    lines, left_out = lay_out(shown, out.width, wraps=wraps, essential=essential)
    out.print(title, style="bold")
    heading = ""
    for i, line in enumerate(lines):
        if group and 0 < i <= len(rows) and rows[i - 1][group] != heading:
            heading = str(rows[i - 1][group])
            out.print(f"\n{heading}", style="bold cyan", soft_wrap=True)
        out.print(line, style="bold" if i == 0 else None, soft_wrap=True)
    if left_out:
        out.print(f"not shown: {', '.join(left_out)} ({all_of_it})", style="dim")


def tab_separated(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    r"""One line for the keys of the first row, and one for each row.

    >>> tab_separated([{"name": "a", "about": "two\nlines", "here": True}])
    ['name\tabout\there', 'a\ttwo lines\tyes']
    """
    if not rows:
        return []
    lines = _texts(rows)
    return ["\t".join(" ".join(text.split()) for text in line) for line in lines]


def lay_out(
    rows: Sequence[Mapping[str, Any]], width: int, *, wraps: bool = False, essential: str = ""
) -> tuple[list[str], list[str]]:
    """Lay out rows in the columns that fit.

    Args:
        rows: What to lay out.
        width: Characters of a line.
        wraps: Wrap a text that does not fit rather than cut it.
        essential: Key whose column gets room before those on its left.

    Returns:
        The lines, the first one of which has the headings, and the columns that do not fit.
    """
    if not rows:
        return ["none"], []
    texts = _texts(rows)
    columns = {
        j: column for j, column in enumerate(zip(*texts, strict=True)) if j == 0 or any(column[1:])
    }
    widths = _widths(columns, width, essential)
    shown = sorted(widths)
    lines: list[str] = []
    for row in texts:
        cells = [_fitted(row[j], widths[j], wraps=wraps) for j in shown]
        lines += _side_by_side(cells, [widths[j] for j in shown])
    return lines, [texts[0][j] for j in columns if j not in widths]


def _widths(columns: Mapping[int, Sequence[str]], room: int, essential: str) -> dict[int, int]:
    """Width of each column that fits; the first one always does."""
    widths: dict[int, int] = {}
    in_turn = sorted(columns, key=lambda j: (j > 0, columns[j][0] != essential, j))
    for j in in_turn:
        column = columns[j]
        needed = max(len(line) for text in column for line in (text.splitlines() or [""]))
        if needed <= room or j == 0:
            widths[j] = needed
        elif room >= LEAST_PROSE and any(" " in text for text in column[1:]):
            widths[j] = room
        else:
            continue
        room -= widths[j] + GAP
    return widths


def _fitted(text: str, width: int, *, wraps: bool) -> list[str]:
    """The lines of one text in its column."""
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        if wraps:
            lines += textwrap.wrap(line, width, break_on_hyphens=False) or [""]
        else:
            lines.append(
                line if len(line) <= width else textwrap.shorten(line, width, placeholder=" …")
            )
    return lines


def _side_by_side(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Lines of a row, from the lines of its cells."""
    lines = []
    for i in range(max(map(len, cells))):
        parts = [cell[i] if i < len(cell) else "" for cell in cells]
        padded = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _texts(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The keys of the first row, then the values of each row under them."""
    names = list(rows[0])
    return [names, *([_text(row[name]) for name in names] for row in rows)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
