"""Cutting a wide table into parts that stand one under another, on a screen or on paper."""

from __future__ import annotations

from harness.report.table import Table
from harness.report.wording import cell_text, headings, row_name

ROW_NAME = 24
"""Characters for row names, at most."""

GAP = 2


def name_width(table: Table) -> int:
    """Characters that row names take."""
    names = [row_name(table, i) for i in range(len(table.rows))]
    return min(ROW_NAME, max(map(len, [" / ".join(table.row_keys), *names])))


def column_width(table: Table, column: int) -> int:
    """Characters that a column takes; headings may break between words, numbers may not. One more for a star."""
    words = [word for level in headings(table)[column] for word in level.split()]
    cells = [row[column] for row in table.cells]
    return max(
        map(
            len,
            [
                *words,
                *("*" * bool(cell and cell.bold) + "".join(cell_text(cell)) for cell in cells),
            ],
        )
    )


def parts(table: Table, width: int) -> list[list[int]]:
    """Columns of each part: whole groups (columns with the same first heading) where they fit into ``width``."""
    room, heads = width - name_width(table) - 2 * GAP, headings(table)
    wide = [column_width(table, j) + GAP for j in range(len(heads))]
    out: list[list[int]] = [[]]
    for group in _groups(heads):
        if sum(wide[j] for j in [*out[-1], *group]) <= room:
            out[-1] += group
            continue
        out.append([])
        for j in group:
            if out[-1] and sum(wide[k] for k in [*out[-1], j]) > room:
                out.append([])
            out[-1].append(j)
    return [part for part in out if part] or [[]]


def _groups(heads: list[tuple[str, ...]]) -> list[list[int]]:
    groups: list[list[int]] = []
    for j, head in enumerate(heads):
        if groups and len(head) > 1 and heads[groups[-1][0]][0] == head[0]:
            groups[-1].append(j)
        else:
            groups.append([j])
    return groups
