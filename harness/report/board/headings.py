"""Heading rows of a board's table, where neighbouring columns share a text."""

from __future__ import annotations

from collections.abc import Sequence

OURS = "ours"
"""Text above our own column if published numbers are beside it."""

Levels = tuple[str, ...]


def heading_rows(columns: Sequence[Levels]) -> list[list[tuple[str, int]]]:
    """Arrange the headings of columns in rows.

    Neighbours that share all levels down to a row are spanned by one text; the last row has one
    text per column. Rows without any text are left out.

    >>> heading_rows([("pgd", "eps 0.1"), ("pgd", "eps 0.2")])
    [[('pgd', 2)], [('eps 0.1', 1), ('eps 0.2', 1)]]

    Returns:
        Rows of (text, spanned columns).
    """
    columns = [_with_text_at_the_end(column, columns) for column in columns]
    depths = len(columns[0]) if columns else 0
    rows = [_heading_row(columns, depth) for depth in range(depths)]
    return [row for row in rows if any(text for text, _ in row)]


def _heading_row(columns: Sequence[Levels], depth: int) -> list[tuple[str, int]]:
    row: list[tuple[str, int]] = []
    is_last = depth == len(columns[0]) - 1
    for j, column in enumerate(columns):
        shared = j > 0 and column[: depth + 1] == columns[j - 1][: depth + 1]
        if shared and not is_last:
            text, span = row[-1]
            row[-1] = (text, span + 1)
        else:
            row.append((column[depth], 1))
    return row


def _with_text_at_the_end(column: Levels, columns: Sequence[Levels]) -> Levels:
    """Make sure that the last level of a column has a text.

    The deepest text of the column moves there. If other columns share that text, it stays where
    it is, and the last level says that the column is ours.
    """
    last = len(column) - 1
    deepest = max((depth for depth, text in enumerate(column) if text), default=last)
    sharing = [other for other in columns if other[: deepest + 1] == column[: deepest + 1]]
    if deepest < last and len(sharing) > 1:
        return (*column[:-1], OURS)
    return (*column[:deepest], *column[deepest + 1 :], column[deepest])
