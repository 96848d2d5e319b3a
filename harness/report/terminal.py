"""A table on a terminal: split into as many stacked parts as its width asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.report.layout import column_width, name_width, parts
from harness.report.table import Cell, Table
from harness.report.wording import cell_text, heading, headings, protocol_line, row_name

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text


class Terminal:
    """A renderable for rich: ``console.print(Terminal(table))``. What is bold also has a star, for pipes and logs."""

    def __init__(self, table: Table):
        self.table = table

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from rich.text import Text

        table = self.table
        yield Text(heading(table), style="bold")
        for part in parts(table, options.max_width):
            yield self._part(part)
        for note in (*table.notes, protocol_line(table)):
            if note:
                yield Text(note.replace("Bold:", "Bold and *:"), style="dim")

    def _part(self, columns: Sequence[int]) -> RenderableType:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        heads = headings(self.table)
        out = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="", pad_edge=False)
        out.add_column(
            Text(" / ".join(self.table.row_keys)),
            width=name_width(self.table),
            overflow="fold",
            vertical="bottom",
        )
        for j in columns:
            head = Text("\n".join(filter(None, heads[j])))
            out.add_column(
                head, justify="right", width=column_width(self.table, j), vertical="bottom"
            )
        for i, cells in enumerate(self.table.cells):
            out.add_row(Text(row_name(self.table, i)), *(_styled(cells[j]) for j in columns))
        return out


def _styled(cell: Cell | None) -> Text:
    from rich.text import Text

    return Text(
        ("*" if cell and cell.bold else "") + "".join(cell_text(cell)),
        style="bold" if cell and cell.bold else "",
    )
