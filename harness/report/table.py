"""A table as values: each cell has its interval, its n, and whether it is the best or a tie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.records import Trust

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        metric: What was measured; decides how the number is printed.
        value: Mean over seeds.
        low, high: Its 95 % interval; None if none is defined.
        n, unit: How many units each seed was measured on.
        seeds: The seeds behind the mean.
        best: Whether it is the best of its column.
        tie: Whether it is not shown to be worse than the best.
        trust: The worst level of the trust checks behind it.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    seeds: tuple[int, ...]
    best: bool = False
    tie: bool = False
    trust: Trust = "-"

    @property
    def bold(self) -> bool:
        """Whether it is the best or a statistical tie with it."""
        return self.best or self.tie


@dataclass(frozen=True)
class Table:
    """A finished table. ``printed.lay_out`` turns it into text, ``render.FORMATS`` into files.

    Attributes:
        suite: Name of the suite.
        name: File name without its ending.
        title: Heading.
        row_keys, column_keys: The keys that ``rows`` and ``columns`` hold values of.
        rows, columns: Labels, one value per key.
        cells: Numbers by row and column; None where nothing was measured.
        distrusted: Positions of rows with a failed trust check; they have a dagger, never bold.
        notes: How to read the table, then what is missing or distrusted.
        block: Conditions of the protocol, condition -> value.
    """

    suite: str
    name: str
    title: str
    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    columns: tuple[tuple[Any, ...], ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    distrusted: frozenset[int]
    notes: tuple[str, ...]
    block: dict[str, str]

    def column(self, position: int) -> list[Cell | None]:
        """The cells of one column, from top to bottom."""
        return [row[position] for row in self.cells]

    def frame(self) -> pd.DataFrame:
        """One row for each number: its labels, then what ``Cell`` has."""
        from harness.report.frames import of_table

        return of_table(self)

    def __repr__(self) -> str:
        return f"<Table {self.name!r}: {len(self.rows)} rows, {len(self.columns)} columns>"

    def __str__(self) -> str:
        from harness.report.render import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from harness.report.html import html
        from harness.report.printed import lay_out

        return html(lay_out(self))

    def metric(self, position: int) -> str:
        """The metric of the first number in a column; empty for an empty column."""
        return next((cell.metric for cell in self.column(position) if cell), "")


class Tables(tuple[Table, ...]):
    """The tables of a suite; ``print`` shows all, and so does a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self))}]"

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self)
