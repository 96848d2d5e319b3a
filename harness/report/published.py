"""Numbers that others report, beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from harness.report.formats import label, number
from harness.report.pivot import Labels
from harness.report.table import Cell, Table
from harness.suite.specs.published import PublishedSpec

PUBLISHED, DIFFERENCE, BAND = "published", "difference", "band"

WHOSE = "whose"
"""Key of columns that says which of these three a column is; nothing where it is our own."""

SUMMARY = "summary"
"""Key of columns that sum up the others; nobody's published number stands there."""


def with_published(table: Table, published: list[PublishedSpec]) -> Table:
    """After each column that somebody has published theirs, ours minus it, and where ours stands to the band that is expected.

    Nothing of it is bold or tested against.

    What is of none of our learners has a row of its own, below them.
    """
    others = tuple(
        (p.row,)
        for p in published
        if p.row and any(_reports(p, table, c, None) for c in table.columns)
    )
    rows = (*table.rows, *dict.fromkeys(others))
    places = {
        (row, column): p
        for p in published
        for i, row in enumerate(rows)
        for j, column in enumerate(table.columns)
        if row == (p.learner or p.row,)
        and _reports(p, table, column, table.cells[i][j] if i < len(table.rows) else None)
    }
    if table.row_keys != ("learner",) or not places:
        return table
    if not table.column_keys:  # a single number: say which, now that there are two of it
        metric = next(iter(places.values())).metric
        table = replace(table, column_keys=("metric",), columns=((metric,),))
        places = {(row, (metric,)): p for (row, _), p in places.items()}
    columns, cells = [], [[] for _ in rows]
    for j, column in enumerate(table.columns):
        measured = [line[j] for line in table.cells] + [None] * (len(rows) - len(table.rows))
        theirs = [places.get((row, column)) for row in rows]
        beside = (
            (None, lambda ours, _: ours),
            (PUBLISHED, _published),
            (DIFFERENCE, _gap),
            (BAND, _standing),
        )
        for whose, make in beside:
            made = [make(*pair) for pair in zip(measured, theirs, strict=True)]
            if whose is None or any(made):
                columns.append((*column, whose))
                for line, cell in zip(cells, made, strict=True):
                    line.append(cell)
    return replace(
        table,
        rows=rows,
        column_keys=(*table.column_keys, WHOSE),
        columns=tuple(columns),
        cells=tuple(map(tuple, cells)),
        notes=(*table.notes, *_notes(columns, list(places.values()))),
    )


def _notes(columns: list[Labels], shown: list[PublishedSpec]) -> Iterator[str]:
    """Where the numbers come from, and how the columns that were added are to be read."""
    yield f"Published: {'; '.join(dict.fromkeys(p.source for p in shown))}."
    added = {column[-1] for column in columns}
    if DIFFERENCE in added:
        exact = "with the interval of ours alone, where the published number comes without one"
        both = "with an interval from both (MOVER), as if they were independent"
        has = [p.interval is not None for p in shown if p.learner]
        yield (
            f"Difference: ours minus published, {both}; {exact}."
            if any(has) and not all(has)
            else f"Difference: ours minus published, {both}."
            if any(has)
            else "Difference: ours minus published, with the interval of ours alone: the published number counts as exact."
        )
    if BAND in added:
        bands = [
            " ".join(
                [
                    p.learner,
                    *(label(*pair) for pair in p.setting.items()),
                    number(p.metric, p.band[0]),
                    "to",
                    number(p.metric, p.band[1]),
                ]
            )
            for p in shown
            if p.band and p.learner
        ]
        said = ", ".join(
            dict.fromkeys(p.band_source for p in shown if p.band and p.learner and p.band_source)
        )
        yield (
            f"Band: where ours is to what independent reproductions reach{said and f' ({said})'}: {'; '.join(bands)}; "
            "with ≈ its interval reaches into the band."
        )


def _published(_: Cell | None, theirs: PublishedSpec | None) -> Cell | None:
    return theirs and Cell(
        theirs.metric, theirs.value, *(theirs.interval or (None, None)), 0, "", ()
    )


def _gap(ours: Cell | None, theirs: PublishedSpec | None) -> Cell | None:
    """Ours minus theirs, with an interval made of both (MOVER: Zou & Donner, Statistics in Medicine 27, 2008, eq. 3)."""
    if ours is None or theirs is None:
        return None
    low, high = theirs.interval or (theirs.value, theirs.value)
    gap = ours.value - theirs.value
    below = (
        None if ours.low is None else gap - math.hypot(ours.value - ours.low, high - theirs.value)
    )
    above = (
        None if ours.high is None else gap + math.hypot(ours.high - ours.value, theirs.value - low)
    )
    return replace(ours, value=gap, low=below, high=above, best=False, tie=False)


def _standing(ours: Cell | None, theirs: PublishedSpec | None) -> Cell | None:
    """Where ours stands to the band: 0 inside, -1 or 1 outside with an interval that reaches it, -2 or 2 outside."""
    if ours is None or theirs is None or theirs.band is None:
        return None
    low, high = theirs.band
    side = (ours.value > high) - (ours.value < low)
    reaches = (
        ours.low is not None and ours.high is not None and ours.low <= high and ours.high >= low
    )
    return replace(
        ours,
        metric="band",
        value=float(side if reaches else 2 * side),
        low=None,
        high=None,
        best=False,
        tie=False,
    )


def _reports(published: PublishedSpec, table: Table, column: Labels, cell: Cell | None) -> bool:
    """Whether a published number is the one that a column shows."""
    at = dict(zip(table.column_keys, column, strict=True))
    if at.pop(SUMMARY, None):
        return False
    metric = at.pop("metric", cell.metric if cell else published.metric)
    return metric == published.metric and all(
        published.setting.get(key, value) == value for key, value in at.items()
    )
