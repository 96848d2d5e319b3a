"""A table on a terminal: split into as many stacked parts as its width asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.report.table import Cell, Table
from harness.report.wording import cell_text, heading, headings, protocol_line, row_name

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

ROW_NAME = 24
"""Columns of the screen for row names, at most."""


class Terminal:
    """A renderable for rich: ``console.print(Terminal(table))``. What is bold also has a star, for pipes and logs."""

    def __init__(self, table: Table):
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        table = self.table
        yield Text(heading(table), style="bold")
        for part in self._parts(options.max_width):
            yield self._part(part)
        for note in (*table.notes, protocol_line(table)):
            if note:
                yield Text(note.replace("Bold:", "Bold and *:"), style="dim")

    def _name_width(self) -> int:
        names = [row_name(self.table, i) for i in range(len(self.table.rows))]
        return min(ROW_NAME, max(map(len, ["/".join(self.table.row_keys), *names])))

    def _parts(self, width: int) -> list[list[int]]:
        """Columns of each part: whole groups of the first level where they fit."""
        room, heads = width - self._name_width() - 4, headings(self.table)
        wide = [self._width(j) + 2 for j in range(len(heads))]
        parts: list[list[int]] = [[]]
        for group in _groups(heads):
            if sum(wide[j] for j in [*parts[-1], *group]) <= room:
                parts[-1] += group
                continue
            parts.append([])
            for j in group:
                if parts[-1] and sum(wide[k] for k in [*parts[-1], j]) > room:
                    parts.append([])
                parts[-1].append(j)
        return [part for part in parts if part] or [[]]

    def _width(self, column: int) -> int:
        words = [word for level in headings(self.table)[column] for word in level.split()]
        return max(len(text) for text in [*words, *(_text(cells[column]) for cells in self.table.cells)])

    def _part(self, columns: Sequence[int]) -> RenderableType:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        heads = headings(self.table)
        out = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="", pad_edge=False)
        out.add_column(Text(" / ".join(self.table.row_keys)), width=self._name_width(), overflow="fold", vertical="bottom")
        for j in columns:
            out.add_column(Text("\n".join(filter(None, heads[j]))), justify="right", width=self._width(j), vertical="bottom")
        for i, cells in enumerate(self.table.cells):
            out.add_row(Text(row_name(self.table, i)), *(_styled(cells[j]) for j in columns))
        return out


def _groups(heads: list[tuple[str, ...]]) -> list[list[int]]:
    """Neighbouring columns with the same first level."""
    groups: list[list[int]] = []
    for j, head in enumerate(heads):
        if groups and len(head) > 1 and heads[groups[-1][0]][0] == head[0]:
            groups[-1].append(j)
        else:
            groups.append([j])
    return groups


def _text(cell: Cell | None) -> str:
    return ("*" if cell and cell.bold else "") + "".join(cell_text(cell))


def _styled(cell: Cell | None) -> Text:
    from rich.text import Text

    return Text(_text(cell), style="bold" if cell and cell.bold else "")
