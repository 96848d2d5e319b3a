"""Numbers that others report, shown beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.report.formats import label, number
from harness.report.grid import Labels, Place
from harness.report.table import Cell, Table
from harness.suite.specs.published import PublishedSpec

PUBLISHED = "published"
DIFFERENCE = "difference"
BAND = "band"

WHOSE = "whose"
"""Key of columns that says which of these three a column is; None for our own numbers."""

SUMMARY = "summary"
"""Key of columns that summarise the others; they have no published number."""

Matches = dict[Place, PublishedSpec]


def with_published(table: Table, published: Sequence[PublishedSpec]) -> Table:
    """Add published numbers to the columns that show the same number.

    After such a column come the published number, ours minus it, and where ours is relative to
    the band of independent reproductions. None of them is bold or tested against. A published
    number that belongs to no learner of the suite has a row of its own, below them.
    """
    if table.row_keys != ("learner",):
        return table
    rows = (*table.rows, *_rows_of_others(table, published))
    matches = _matches(table, rows, published)
    if not matches:
        return table
    if not table.column_keys:
        table, matches = _with_named_metric(table, matches)

    columns: list[Labels] = []
    cells: list[list[Cell | None]] = []
    for j, column in enumerate(table.columns):
        ours = table.column(j) + [None] * (len(rows) - len(table.rows))
        theirs = [matches.get((row, column)) for row in rows]
        columns.append((*column, None))
        cells.append(ours)
        for kind, added in _added_columns(ours, theirs).items():
            columns.append((*column, kind))
            cells.append(added)
    return replace(
        table,
        rows=rows,
        column_keys=(*table.column_keys, WHOSE),
        columns=tuple(columns),
        cells=tuple(zip(*cells, strict=True)),
        notes=(*table.notes, *_notes(columns, list(matches.values()))),
    )


def _rows_of_others(table: Table, published: Sequence[PublishedSpec]) -> list[Labels]:
    """Rows for published numbers of other models or of people, without repetition."""
    rows: dict[Labels, None] = {}
    for spec in published:
        if spec.row and any(_is_shown(spec, table, column, None) for column in table.columns):
            rows[(spec.row,)] = None
    return list(rows)


def _matches(table: Table, rows: Sequence[Labels], published: Sequence[PublishedSpec]) -> Matches:
    """Place -> the published number that belongs beside it."""
    matches: Matches = {}
    for spec in published:
        own_row = (spec.learner or spec.row,)
        for i, row in enumerate(rows):
            if row != own_row:
                continue
            for j, column in enumerate(table.columns):
                cell = table.cells[i][j] if i < len(table.rows) else None
                if _is_shown(spec, table, column, cell):
                    matches[row, column] = spec
    return matches


def _is_shown(spec: PublishedSpec, table: Table, column: Labels, cell: Cell | None) -> bool:
    """Whether a column shows the number that was published."""
    setting = dict(zip(table.column_keys, column, strict=True))
    if setting.pop(SUMMARY, None):
        return False
    metric = setting.pop("metric", cell.metric if cell else spec.metric)
    if metric != spec.metric:
        return False
    return all(spec.setting.get(key, value) == value for key, value in setting.items())


def _with_named_metric(table: Table, matches: Matches) -> tuple[Table, Matches]:
    """Name the metric in the heading of a one-number table, because a second number is added."""
    metric = next(iter(matches.values())).metric
    table = replace(table, column_keys=("metric",), columns=((metric,),))
    return table, {(row, (metric,)): spec for (row, _), spec in matches.items()}


# ------------------------------------------------------------------------------------- new cells


def _added_columns(
    ours: Sequence[Cell | None], theirs: Sequence[PublishedSpec | None]
) -> dict[str, list[Cell | None]]:
    """Kind of column -> its cells; columns without any number are left out."""
    pairs = list(zip(ours, theirs, strict=True))
    added = {
        PUBLISHED: [_published(spec) for spec in theirs],
        DIFFERENCE: [difference(cell, spec) for cell, spec in pairs],
        BAND: [_standing(cell, spec) for cell, spec in pairs],
    }
    return {kind: cells for kind, cells in added.items() if any(cells)}


def _published(theirs: PublishedSpec | None) -> Cell | None:
    if theirs is None:
        return None
    low, high = theirs.interval or (None, None)
    return Cell(theirs.metric, _value(theirs), low, high, n=0, unit="", seeds=())


def difference(ours: Cell | None, theirs: PublishedSpec | None) -> Cell | None:
    """Ours minus the published number, with an interval from both.

    The intervals are combined by MOVER (Zou & Donner, Statistics in Medicine 27, 2008, eq. 3).
    A published number without an interval counts as exact.
    """
    if ours is None or theirs is None:
        return None
    value = _value(theirs)
    low, high = theirs.interval or (value, value)
    gap = ours.value - value
    below = None
    above = None
    if ours.low is not None:
        below = gap - math.hypot(ours.value - ours.low, high - value)
    if ours.high is not None:
        above = gap + math.hypot(ours.high - ours.value, value - low)
    return replace(ours, value=gap, low=below, high=above, best=False, tie=False)


def _standing(ours: Cell | None, theirs: PublishedSpec | None) -> Cell | None:
    """Where ours is relative to the band.

    0: inside. -1 or 1: outside, with an interval that overlaps the band. -2 or 2: outside.
    """
    if ours is None or theirs is None or theirs.band is None:
        return None
    low, high = theirs.band
    side = (ours.value > high) - (ours.value < low)
    overlaps = False
    if ours.low is not None and ours.high is not None:
        overlaps = ours.low <= high and ours.high >= low
    return replace(
        ours,
        metric="band",
        value=float(side if overlaps else 2 * side),
        low=None,
        high=None,
        best=False,
        tie=False,
    )


def _value(spec: PublishedSpec) -> float:
    """The published number. Citations are resolved when a suite is loaded, so there is one."""
    if spec.value is None:
        raise ValueError(f"the citation {spec.cite!r} has not been resolved")
    return spec.value


# ----------------------------------------------------------------------------------------- notes


def _notes(columns: Sequence[Labels], shown: Sequence[PublishedSpec]) -> Iterator[str]:
    """Where the numbers come from, and how to read the added columns."""
    kinds = {column[-1] for column in columns}
    sources = dict.fromkeys(spec.source for spec in shown if spec.source)
    yield f"Published: {'; '.join(sources)}."
    if DIFFERENCE in kinds:
        yield _difference_note([spec for spec in shown if spec.learner])
    if BAND in kinds:
        yield _band_note([spec for spec in shown if spec.learner and spec.band])


def _difference_note(shown: Sequence[PublishedSpec]) -> str:
    with_interval = [spec.interval is not None for spec in shown]
    if not any(with_interval):
        return (
            "Difference: ours minus published, with the interval of ours alone; "
            "the published number counts as exact."
        )
    from_both = "Difference: ours minus published, with an interval from both (MOVER, independent)"
    if all(with_interval):
        return f"{from_both}."
    return f"{from_both}; with the interval of ours alone if none was published."


def _band_note(shown: Sequence[PublishedSpec]) -> str:
    bands = []
    for spec in shown:
        assert spec.band is not None
        low, high = (number(spec.metric, end) for end in spec.band)
        setting = [label(key, value) for key, value in spec.setting.items()]
        bands.append(" ".join([str(spec.learner), *setting, low, "to", high]))
    sources = ", ".join(dict.fromkeys(spec.band_source for spec in shown if spec.band_source))
    origin = f" ({sources})" if sources else ""
    return (
        f"Band: ours relative to the range of independent reproductions{origin}: "
        f"{'; '.join(bands)}; ≈ marks an interval that overlaps the band."
    )
