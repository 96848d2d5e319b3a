"""A table on a terminal, split into as many stacked parts as its width requires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.report.printed import PrintedCell, PrintedTable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text


class Terminal:
    """A renderable for rich: ``console.print(Terminal(printed))``.

    Bold numbers also have a star, for pipes and logs.
    """

    def __init__(self, printed: PrintedTable) -> None:
        self.printed = printed

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from rich.text import Text

        yield Text(self.printed.title, style="bold")
        for columns in self.printed.parts(options.max_width):
            yield self._part(columns)
        for note in self.printed.notes:
            yield Text(note.replace("Bold:", "Bold and *:"), style="dim")

    def _part(self, columns: Sequence[int]) -> RenderableType:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        printed = self.printed
        out = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="", pad_edge=False)
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
