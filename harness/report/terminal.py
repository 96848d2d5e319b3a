"""A table on a terminal: the columns that fit, and the names of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.report.printed import PrintedCell, PrintedTable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text


CONDITIONS = 4
"""Conditions of a protocol that are shown before the rest is left to ``--all``."""


class Terminal:
    """A renderable for rich: ``console.print(Terminal(printed))``.

    Bold numbers also have a star, for pipes and logs.

    Args:
        printed: The table.
        whole: Show all columns, in as many stacked parts as the width requires, and all conditions.
            So it always is where the output is no terminal, which nobody can widen.
    """

    def __init__(self, printed: PrintedTable, *, whole: bool = False) -> None:
        self.printed = printed
        self.whole = whole

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from rich.text import Text

        printed = self.printed
        yield Text(printed.title, style="bold")
        whole = self.whole or not options.is_terminal
        notes = printed.notes if whole else printed.short_notes(CONDITIONS)
        if not printed.cells:
            yield Text("no results yet", style="dim")
        elif whole:
            for columns in printed.parts(options.max_width):
                yield self._part(columns)
        else:
            columns = printed.fitting(options.max_width)
            yield self._part(columns)
            notes = (*printed.others(columns), *notes)
        for note in notes:
            yield Text(note.replace("Bold:", "Bold and *:"), style="dim")

    def _part(self, columns: Sequence[int]) -> RenderableType:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        printed = self.printed
        out = RichTable(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), header_style="", pad_edge=False)
        out.add_column(
            Text(printed.corner), width=printed.name_width, overflow="fold", vertical="bottom"
        )
        for j in columns:
            heading = Text("\n".join(filter(None, printed.headings[j])))
            out.add_column(heading, justify="right", width=printed.widths[j], vertical="bottom")
        for name, cells in zip(printed.row_names, printed.cells, strict=True):
            out.add_row(Text(name), *(_styled(cells[j]) for j in columns))
        return out


def _styled(cell: PrintedCell) -> Text:
    from rich.text import Text

    return Text(f"*{cell.text}", style="bold") if cell.bold else Text(cell.text)
