"""From results to tables: what a suite may ask for, and how it is built and written."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.cells.results import Results
from harness.files import write_atomically
from harness.records import Record, worst_level
from harness.report.aggregate import aggregate, ranks, same_as_best
from harness.report.derive import ATTACKED, with_worst_case
from harness.report.formats import BETTER, captions
from harness.report.notes import (
    distrust,
    failures,
    matched,
    no_such_metric,
    partial,
    reading,
    warnings,
)
from harness.report.pivot import Grid, Labels, distinguish, fold_clean, group, labels, ordered
from harness.report.published import SUMMARY, with_published
from harness.report.render import FORMATS
from harness.report.table import Cell, Table
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

MEAN_RANK = "mean rank"
RANKING = (
    "Mean rank over columns, 1 the best: the best of a column and all that is not significantly worse share their mean "
    "rank, then the best of the rest, and so on (the tests that bold numbers rest on)."
)

DEFAULT_COLUMNS = {
    "attack_sweep": ["attack", "eps"],
    "few_shot": ["ways", "shots"],
    "biology": ["metric"],
    "attacked_episodes": ["ways", "shots", "attack", "eps"],
    "low_data": ["per_class"],
    "corruption": ["corruption"],
}


def default_specs(results: Results) -> list[TableSpec]:
    """One table a protocol, for a suite that asks for none."""
    return [
        TableSpec(protocol=name, columns=DEFAULT_COLUMNS.get(kind, []))
        for name, kind in results.protocols.items()
    ]


def build_all(
    results: Results, specs: Sequence[TableSpec], published: Sequence[PublishedSpec] = ()
) -> list[Table]:
    """All tables of a suite, or one a protocol where it asks for none; equal names are made distinct by a number."""
    cached = with_worst_case(replace(results, verdicts=functools.cache(results.verdicts)))
    tables: list[Table] = []
    for spec in specs or default_specs(results):
        table = with_published(
            build(cached, spec), [p for p in published if p.protocol == spec.protocol]
        )
        taken = {other.name for other in tables}
        tables.append(
            replace(table, name=next(name for name in _numbered(table.name) if name not in taken))
        )
    return tables


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{i}" for i in itertools.count(2))


def write_tables(
    results: Results,
    specs: Sequence[TableSpec],
    folder: Path,
    published: Sequence[PublishedSpec] = (),
) -> list[Path]:
    """Every table in every format. Same results, same bytes.

    Returns:
        the files written.
    """
    written = []
    for table in build_all(results, specs, published):
        for ending, renderer in FORMATS.values():
            written.append(Path(folder) / f"{table.name}{ending}")
            write_atomically(written[-1], renderer(table).encode())
    return written


def build(results: Results, spec: TableSpec) -> Table:
    """The table that ``spec`` asks for. Deterministic.

    Keys of the setting that ``spec`` does not pivot on, but without which different measurements would fall into one
    cell, become further columns: two things are never averaged in silence.
    """
    results = with_worst_case(results)
    laid = lay_out(results, spec)
    grid, rows, columns, row_keys, column_keys = (
        laid.grid,
        laid.rows,
        laid.columns,
        laid.row_keys,
        laid.column_keys,
    )
    bad = [r for found in grid.values() for r in found if r.trust == "FAIL"]
    place = {row: i for i, row in enumerate(rows)}
    distrusted = frozenset(place[labels(r, row_keys)] for r in bad)
    planned = _planned(results, spec.protocol)
    lacking = {} if "seed" in (*row_keys, *column_keys) else _lacking(grid, planned)
    cells = {at: _cell(found, results) for at, found in grid.items()}
    partly = {column for _, column in lacking}
    whole = [column for column in columns if column not in partly]
    rivals = [row for i, row in enumerate(rows) if i not in distrusted]
    if row_keys == ("learner",):  # anything else in a row is another task, not a rival
        for column in whole:
            _mark_best(cells, grid, [(row, column) for row in rivals], results)
    notes = (
        *laid.absent,
        *reading([(cells[at], grid[at]) for at in grid], bool(distrusted)),
        *partial(_by_row(lacking, rows, columns, row_keys, column_keys), planned),
        *matched(results, spec.protocol),
        *distrust(bad, results),
        *warnings(laid.measured, results),
        *failures(results, spec.protocol),
    )
    table = Table(
        results.suite,
        spec.name or spec.protocol,
        spec.title or f"{results.suite}: {spec.protocol}",
        row_keys,
        column_keys,
        tuple(rows),
        tuple(columns),
        tuple(tuple(cells.get((row, column)) for column in columns) for row in rows),
        distrusted,
        notes,
        dict(results.blocks.get(spec.protocol, {})),
    )
    if not spec.ranks or row_keys != ("learner",):
        return table
    return _with_ranks(table, _mean_ranks(grid, rivals, whole, results))


@dataclass(frozen=True)
class LaidOut:
    """The records of a table, each in its place.

    Attributes:
        row_keys, column_keys, rows, columns: as in ``Table``, before anything is published beside it.
        grid: place -> records, one a seed.
        measured: the records that it is about, breakdowns and all.
        absent: a note on the metrics that it asks for in vain.
    """

    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: list[Labels]
    columns: list[Labels]
    grid: Grid
    measured: list[Record]
    absent: list[str]


def lay_out(results: Results, spec: TableSpec) -> LaidOut:
    """The records that ``spec`` asks for, sorted into rows and columns."""
    results = with_worst_case(results)
    row_keys = (spec.rows,) if isinstance(spec.rows, str) else tuple(spec.rows)
    measured, absent = _chosen(results, spec, {*row_keys, *spec.columns})
    column_keys, records = distinguish(measured, row_keys, tuple(spec.columns))
    if results.protocols.get(spec.protocol) in ATTACKED:
        column_keys, records = distinguish(
            fold_clean(records, row_keys, column_keys), row_keys, column_keys
        )
    grid = group(records, row_keys, column_keys)
    rows = ordered(
        {row for row, _ in grid} | _failed_rows(results, spec), row_keys, results.learners
    )
    columns = ordered({column for _, column in grid}, column_keys, results.learners)
    return LaidOut(row_keys, column_keys, rows, columns, grid, measured, absent)


def _chosen(results: Results, spec: TableSpec, keys: set[str]) -> tuple[list[Record], list[str]]:
    """The records that a table shows, and a note on the metrics that it asks for in vain."""
    records = [r for r in results.records if r.protocol == spec.protocol]
    present = {r.metric for r in records}
    if spec.metric is not None:
        metrics = [spec.metric] if isinstance(spec.metric, str) else spec.metric
    elif "metric" in keys:
        metrics = sorted(present)
    else:
        metrics = ["accuracy"] if "accuracy" in present else sorted(present)[:1]
    return [r for r in records if r.metric in metrics], list(no_such_metric(metrics, present))


def _failed_rows(results: Results, spec: TableSpec) -> set[tuple[Any, ...]]:
    """A learner all of whose cells failed still has its row."""
    if spec.rows not in ("learner", ["learner"]):
        return set()
    return {(learner,) for learner, protocol, _, _ in results.failures if protocol == spec.protocol}


def _planned(results: Results, protocol: str) -> list[int]:
    """The seeds that each number of a protocol should be over."""
    tried = {r.seed for r in results.records if r.protocol == protocol}
    tried |= {seed for _, where, seed, _ in results.failures if where == protocol}
    return sorted(results.seeds.get(protocol, tried))


def _lacking(grid: Grid, planned: list[int]) -> dict[tuple[Labels, Labels], tuple[int, ...]]:
    """Where a number is over other seeds than planned -> over which."""
    seeds = {at: tuple(r.seed for r in records) for at, records in grid.items()}
    return {at: found for at, found in seeds.items() if found != tuple(planned)}


def _by_row(
    lacking: dict[tuple[Labels, Labels], tuple[int, ...]],
    rows: list[Labels],
    columns: list[Labels],
    row_keys: tuple[str, ...],
    column_keys: tuple[str, ...],
) -> dict[tuple[str, tuple[int, ...]], list[str]]:
    out: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for row, column in itertools.product(rows, columns):
        if (row, column) in lacking:
            name = " / ".join(filter(None, captions(row_keys, row)))
            out.setdefault((name, lacking[row, column]), []).append(
                " ".join(filter(None, captions(column_keys, column)))
            )
    return out


def _mark_best(
    cells: dict[tuple[Labels, Labels], Cell],
    grid: Grid,
    column: list[tuple[Labels, Labels]],
    results: Results,
) -> None:
    """Mark the best of one column and its ties."""
    rivals = [at for at in column if at in grid and _comparable(grid[at])]
    if len(rivals) < 2:
        return
    best, ties = same_as_best(
        [grid[at] for at in rivals], results.verdicts, sign=BETTER[grid[rivals[0]][0].metric]
    )
    for places, mark in ((best, "best"), (ties, "tie")):
        for place in places:
            cells[rivals[place]] = replace(cells[rivals[place]], **{mark: True})


def _mean_ranks(
    grid: Grid, rivals: list[Labels], columns: list[Labels], results: Results
) -> dict[Labels, float]:
    """Mean rank over the columns of every rival that has a number in all of them; nothing where there are not two."""
    there = [
        row
        for row in rivals
        if all((row, c) in grid and _comparable(grid[row, c]) for c in columns)
    ]
    if len(there) < 2 or not columns:
        return {}
    each = [
        ranks(
            [grid[row, column] for row in there],
            results.verdicts,
            sign=BETTER[grid[there[0], column][0].metric],
        )
        for column in columns
    ]
    return dict(zip(there, np.mean(each, axis=0).tolist(), strict=True))


def _with_ranks(table: Table, means: dict[Labels, float]) -> Table:
    """A last column with the mean ranks."""
    if not means:
        return table
    columns = len(table.columns)
    last = [
        Cell("rank", means[row], None, None, columns, "column", ()) if row in means else None
        for row in table.rows
    ]
    return replace(
        table,
        column_keys=(*table.column_keys, SUMMARY),
        columns=(
            *((*column, None) for column in table.columns),
            (*(None for _ in table.column_keys), MEAN_RANK),
        ),
        cells=tuple((*cells, rank) for cells, rank in zip(table.cells, last, strict=True)),
        notes=(*table.notes, RANKING),
    )


def _comparable(records: list[Record]) -> bool:
    return all(r.metric in BETTER and r.verdicts is not None for r in records)


def _cell(records: list[Record], results: Results) -> Cell:
    first, mean = records[0], aggregate(records, results.verdicts)
    return Cell(
        first.metric,
        mean.value,
        mean.low,
        mean.high,
        first.n,
        first.unit,
        tuple(r.seed for r in records),
        trust=worst_level(r.trust for r in records),
    )
