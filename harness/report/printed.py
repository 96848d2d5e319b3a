"""A table as text: captions, numbers and notes, computed once and the same in every format."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics.catalogue import HEADLINES
from harness.records import WORST
from harness.report.formats import (
    CLEAN,
    bracket,
    captions,
    error_bar,
    is_bracket,
    is_percent,
    metric_name,
    number,
)
from harness.report.table import Cell, Table

MISSING = "–"
DAGGER = "†"

MOST_NAME_CHARACTERS = 24
"""Width of the column of row names, at most."""

GAP = 2
"""Characters between columns."""

EDGE = 1
"""Characters beside the table, on each side."""


@dataclass(frozen=True)
class PrintedCell:
    """One number as text.

    Attributes:
        number: ``"97.3"``, or a dash where nothing was measured.
        error: Its error bar, ``"±0.9"``; empty without an interval.
        bold: Whether it is the best of its column or tied with it.
    """

    number: str
    error: str = ""
    bold: bool = False

    @property
    def text(self) -> str:
        """Number and error bar: ``"97.3 ±0.9"``."""
        return f"{self.number} {self.error}" if self.error else self.number


@dataclass(frozen=True)
class PrintedTable:
    """A table as text. Renderers add markup to it and nothing else.

    Attributes:
        table: The values, for formats that print numbers unrounded.
        title: The title, with metric and unit if all numbers share them.
        corner: Heading of the row names.
        row_names: One name per row, with a dagger if a trust check failed.
        headings: One tuple per column, one text per level.
        cells: Texts by row and column.
        notes: All notes; the conditions of the protocol come last.
        name_width: Characters that row names take.
        widths: Characters that each column takes.
    """

    table: Table
    title: str
    corner: str
    row_names: tuple[str, ...]
    headings: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[PrintedCell, ...], ...]
    notes: tuple[str, ...]
    name_width: int
    widths: tuple[int, ...]

    def parts(self, width: int) -> list[list[int]]:
        """Split the columns into parts that fit into ``width`` characters.

        Columns with the same first heading stay together if they fit.

        Returns:
            Positions of the columns in each part.
        """
        room = width - self.name_width - 2 * EDGE

        def fits(columns: Sequence[int]) -> bool:
            return sum(self.widths[j] + GAP for j in columns) <= room

        parts: list[list[int]] = [[]]
        for group in _heading_groups(self.headings):
            if fits([*parts[-1], *group]):
                parts[-1] += group
                continue
            parts.append([])
            for j in group:
                if parts[-1] and not fits([*parts[-1], j]):
                    parts.append([])
                parts[-1].append(j)
        return [part for part in parts if part] or [[]]

    def fitting(self, width: int) -> list[int]:
        """Positions of the columns that fit into ``width`` characters, the important ones first.

        These are the clean and the worst case of attacks and the headline metrics; then the
        columns from the left. Columns of another attack are shown together
        or not at all.

        Returns:
            Positions, in the order of the table.
        """
        room = width - self.name_width - 2 * EDGE
        shown: list[int] = []
        groups = _heading_groups(self.headings)
        important = [[j] for group in groups if self._is_important(group[0]) for j in group]
        others = [group for group in groups if not self._is_important(group[0])]
        for group in (*important, *others):
            needed = sum(self.widths[j] + GAP for j in group)
            if needed <= room:
                shown += group
                room -= needed
        return sorted(shown)

    def _is_important(self, column: int) -> bool:
        labels = self.table.columns[column]
        return self.table.metric(column) in HEADLINES or bool({CLEAN, WORST} & {*labels})

    def others(self, columns: Sequence[int]) -> list[str]:
        """A note that names the columns that are not among ``columns``; none if all are."""
        left_out = [" ".join(each) for j, each in enumerate(self.headings) if j not in columns]
        if not left_out:
            return []
        return [f"Not shown: {', '.join(left_out)} (--all, or a wider terminal)."]

    def short_notes(self, most: int) -> list[str]:
        """All notes, with the first ``most`` conditions of the protocol."""
        block = self.table.block
        if len(block) <= most:
            return list(self.notes)
        short = conditions(dict(itertools.islice(block.items(), most)))
        return [*self.notes[:-1], f"{short[:-1]}; {len(block) - most} more (--all)."]


def _heading_groups(headings: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """Group neighbouring columns that share the first of several heading levels."""
    groups: list[list[int]] = []
    for j, heading in enumerate(headings):
        if groups and len(heading) > 1 and headings[groups[-1][0]][0] == heading[0]:
            groups[-1].append(j)
        else:
            groups.append([j])
    return groups


def lay_out(table: Table) -> PrintedTable:
    """Compute all texts of a table."""
    corner = " / ".join(table.row_keys)
    row_names = tuple(_row_name(table, i) for i in range(len(table.rows)))
    headings = _headings(table)
    cells = tuple(tuple(print_cell(cell) for cell in row) for row in table.cells)
    widths = []
    for j, heading in enumerate(headings):
        widths.append(_column_width(heading, [row[j] for row in cells]))
    notes = [*table.notes, conditions(table.block)]
    return PrintedTable(
        table=table,
        title=_title(table),
        corner=corner,
        row_names=row_names,
        headings=headings,
        cells=cells,
        notes=tuple(note for note in notes if note),
        name_width=min(MOST_NAME_CHARACTERS, max(map(len, [corner, *row_names]))),
        widths=tuple(widths),
    )


def print_cell(cell: Cell | None) -> PrintedCell:
    """One cell as text."""
    if cell is None:
        return PrintedCell(MISSING)
    if is_bracket(cell.metric) and cell.low is not None and cell.high is not None:
        return PrintedCell(bracket(cell.low, cell.high))
    error = error_bar(cell.metric, cell.value, cell.low, cell.high)
    return PrintedCell(number(cell.metric, cell.value), error, cell.bold)


def _title(table: Table) -> str:
    """The title, with metric and unit if all numbers share them."""
    metrics = {cell.metric for row in table.cells for cell in row if cell}
    metrics -= {"rank", "band"}  # These name themselves in their columns.
    if len(metrics) != 1:
        return table.title
    metric = metrics.pop()
    name = metric_name(metric)
    about = []
    if "metric" not in (*table.row_keys, *table.column_keys):
        about.append(name)
    if is_percent(metric) and "%" not in name:
        about.append("%")
    return f"{table.title} ({', '.join(about)})" if about else table.title


def _headings(table: Table) -> tuple[tuple[str, ...], ...]:
    """One tuple per column, one text per level; levels without any text are left out."""
    columns = [captions(table.column_keys, column) for column in table.columns]
    levels = [level for level in zip(*columns, strict=True) if any(level)]
    if levels:
        return tuple(zip(*levels, strict=True))
    return tuple((metric_name(table.metric(j)),) for j in range(len(table.columns)))


def _row_name(table: Table, row: int) -> str:
    name = " / ".join(filter(None, captions(table.row_keys, table.rows[row])))
    return f"{name} {DAGGER}" if row in table.distrusted else name


def _column_width(heading: Sequence[str], cells: Sequence[PrintedCell]) -> int:
    """Characters of a column. Headings may break between words, numbers may not."""
    words = [word for level in heading for word in level.split()]
    # A bold number has a star on terminals.
    numbers = [len(cell.text) + cell.bold for cell in cells]
    return max([*map(len, words), *numbers], default=0)


def conditions(block: dict[str, str]) -> str:
    """The conditions of a protocol as one sentence; empty without any."""
    if not block:
        return ""
    parts = [f"{condition}: {value}" for condition, value in block.items()]
    return f"Protocol: {'; '.join(parts)}."
