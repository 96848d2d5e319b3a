"""Numbers that others report, beside ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field, model_validator

from harness.registry import Config
from harness.report.pivot import Labels
from harness.report.table import Cell, Table

PUBLISHED, DIFFERENCE = "published", "difference"

SUMMARY = "summary"
"""Key of columns that sum up the others; nobody's published number stands there."""


class PublishedSpec(Config):
    """A number that somebody else reports, to be printed beside ours."""

    learner: str | None = Field(None, description="the learner of the suite that it is to be compared with")
    row: str | None = Field(None, min_length=1, description="instead: what a row of its own is called (people, another model)")
    protocol: str = Field(description="name of the protocol whose tables show it")
    metric: str = Field("accuracy", description="which number")
    setting: dict[str, Any] = Field({}, description="which of the protocol's numbers, e.g. {ways: 5, shots: 1}")
    value: float = Field(description="the number, in our units (accuracies are fractions)")
    source: str = Field(min_length=1, description="where it is reported, and whether it was read there")

    @model_validator(mode="after")
    def _of_one(self) -> PublishedSpec:
        if (self.learner is None) == (self.row is None):
            raise ValueError("a published number stands beside a `learner` or in a `row` of its own: give one of the two")
        return self


def with_published(table: Table, published: list[PublishedSpec]) -> Table:
    """After each column that somebody has published theirs, and ours minus it; never bold, never tested against.

    What is of none of our learners has a row of its own, below them.
    """
    others = tuple((p.row,) for p in published if p.row and any(_reports(p, table, c, None) for c in table.columns))
    rows = (*table.rows, *dict.fromkeys(others))
    places = {(row, column): p for p in published for i, row in enumerate(rows) for j, column in enumerate(table.columns)
              if row == (p.learner or p.row,)
              and _reports(p, table, column, table.cells[i][j] if i < len(table.rows) else None)}
    if table.row_keys != ("learner",) or not places:
        return table
    if not table.column_keys:  # a single number: say which, now that there are two of it
        metric = next(iter(places.values())).metric
        table = replace(table, column_keys=("metric",), columns=((metric,),))
        places = {(row, (metric,)): p for (row, _), p in places.items()}
    columns, cells = [], [[] for _ in rows]
    for j, column in enumerate(table.columns):
        measured = [line[j] for line in table.cells] + [None] * (len(rows) - len(table.rows))
        theirs = [_published_cell(places.get((row, column))) for row in rows]
        gaps = [_gap(*pair) for pair in zip(measured, theirs, strict=True)]
        for whose, column_cells in ((None, measured), (PUBLISHED, theirs), (DIFFERENCE, gaps)):
            if whose is None or any(column_cells):
                columns.append((*column, whose))
                for line, cell in zip(cells, column_cells, strict=True):
                    line.append(cell)
    sources = dict.fromkeys(p.source for p in places.values())
    notes = [f"Published: {'; '.join(sources)}."]
    if any(column[-1] == DIFFERENCE for column in columns):
        notes.append("Difference: ours minus published, with the interval of ours alone: the published number counts as exact.")
    return replace(table, rows=rows, column_keys=(*table.column_keys, "whose"), columns=tuple(columns),
                   cells=tuple(map(tuple, cells)), notes=(*table.notes, *notes))


def _published_cell(published: PublishedSpec | None) -> Cell | None:
    return published and Cell(published.metric, published.value, None, None, 0, "", ())


def _gap(ours: Cell | None, theirs: Cell | None) -> Cell | None:
    """Ours minus theirs."""
    if ours is None or theirs is None:
        return None
    low, high = (None if end is None else end - theirs.value for end in (ours.low, ours.high))
    return replace(ours, value=ours.value - theirs.value, low=low, high=high, best=False, tie=False)


def _reports(published: PublishedSpec, table: Table, column: Labels, cell: Cell | None) -> bool:
    """Whether a published number is the one that a column shows."""
    at = dict(zip(table.column_keys, column, strict=True))
    if at.pop(SUMMARY, None):
        return False
    metric = at.pop("metric", cell.metric if cell else published.metric)
    return metric == published.metric and all(published.setting.get(key, value) == value for key, value in at.items())
